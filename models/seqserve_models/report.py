"""The report of a built model: one HTML file with everything inside, to open in a browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined

from seqserve_models import charts
from seqserve_models.dataset import Values
from seqserve_models.definition import ModelDefinition
from seqserve_models.evaluate import Evaluation
from seqserve_models.pictures import picture_of
from seqserve_models.progress import EpochReport
from seqserve_models.shapes import LayerRow

TEMPLATE = "report.html.jinja"
WORST = 12
MAX_CLASSES_SHOWN = 25
MAX_LABELS_SHOWN = 100
NUMBERS_SHOWN = 6
SHORT_LABEL = 4
ROUNDS_TO_NONE, ROUNDS_TO_ALL = 0.0005, 0.9995


@dataclass(frozen=True, eq=False)
class ReportFacts:
    """What a report tells.

    layers: empty where they could not be followed. test_inputs: FP32 [n, *example], shaped as the data
    set's. test_targets: int64 [n] or FP32 [n, *output]. test_outputs: FP32 [n, *output] of the module.
    settings: of the training, by name. sizes: bytes. seconds: by step. hashes: SHA-256 in hex.
    """

    definition: ModelDefinition
    version: str
    dataset: str
    history: Sequence[EpochReport]
    layers: tuple[LayerRow, ...]
    evaluation: Evaluation
    test_inputs: Values
    test_targets: npt.NDArray[Any]
    test_outputs: Values
    settings: Mapping[str, object]
    sizes: Mapping[str, int]
    seconds: Mapping[str, float]
    libraries: Mapping[str, str]
    hashes: Mapping[str, str]


@dataclass(frozen=True)
class ConfusionRow:
    """How the examples of one true class were answered.

    counts: of the classes shown. elsewhere: answers that are none of them. right: a share, as shown.
    """

    label: str
    counts: Sequence[int]
    elsewhere: int
    right: str


@dataclass(frozen=True)
class Confusion:
    """Counts of answers, a row for each true class; `left_out` classes are not shown.

    wrong: answers, of all classes. most_wrong: the largest count off the diagonal.
    """

    rows: Sequence[ConfusionRow]
    wrong: int
    most_wrong: int
    left_out: int

    @property
    def has_long_labels(self) -> bool:
        """Whether a label is wider than its column of counts."""
        return any(len(row.label) > SHORT_LABEL for row in self.rows)


@dataclass(frozen=True)
class WorstExample:
    """An example that the model answered badly; texts as they are shown.

    picture: a data URI, or empty. error: of a regression. is_wrong: never of a regression.
    """

    picture: str
    wanted: str
    came: str
    values: str
    error: str = ""
    is_wrong: bool = False


def render_report(facts: ReportFacts) -> bytes:
    """The whole page; equal facts give equal bytes."""
    environment = Environment(
        loader=PackageLoader("seqserve_models", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    is_classifier = facts.evaluation.confusion is not None
    page = environment.get_template(TEMPLATE).render(
        facts=facts,
        definition=facts.definition,
        curves=charts.curves(facts.history) if facts.history else (),
        value_charts=() if is_classifier else charts.values(facts.test_targets, facts.test_outputs),
        confusion=confusion_of(facts),
        worst=worst_classified(facts) if is_classifier else largest_errors(facts),
        parameters=sum(row.parameters for row in facts.layers),
        max_labels=MAX_LABELS_SHOWN,
        times=[(step, f"{seconds:.2f} s") for step, seconds in facts.seconds.items()],
        sizes=[(what, f"{count:,} bytes") for what, count in facts.sizes.items()],
    )
    return page.encode()


def confusion_of(facts: ReportFacts) -> Confusion | None:
    """The matrix; of many classes those with the most errors."""
    counts = facts.evaluation.confusion
    if counts is None:
        return None
    wrong = counts - np.diag(np.diag(counts))
    errors = wrong.sum(axis=0) + wrong.sum(axis=1)
    shown = np.sort(np.argsort(-errors, kind="stable")[:MAX_CLASSES_SHOWN])
    return Confusion(
        rows=[_confusion_row(facts.definition, int(number), counts[number], shown) for number in shown],
        wrong=int(wrong.sum()),
        most_wrong=int(wrong.max()),
        left_out=len(counts) - len(shown),
    )


def worst_classified(facts: ReportFacts) -> list[WorstExample]:
    """Those whose true class got the smallest probability."""
    of_truth = facts.test_outputs[np.arange(len(facts.test_targets)), facts.test_targets]  # [n]
    return [_classified(facts, int(index)) for index in np.argsort(of_truth, kind="stable")[:WORST]]


def largest_errors(facts: ReportFacts) -> list[WorstExample]:
    """Those of a regression that are furthest off."""
    # FP32 would overflow where values of opposite sign are near its limit.
    differences = np.abs(facts.test_outputs.astype(np.float64) - facts.test_targets)
    largest = differences.reshape(len(differences), -1).max(axis=1)  # [n]
    return [
        WorstExample(
            picture=picture_of(facts.definition, facts.test_inputs[index]) or "",
            wanted=numbers(facts.test_targets[index]),
            came=numbers(facts.test_outputs[index]),
            values=numbers(facts.test_inputs[index]),
            error=f"{largest[index]:.4g}",
        )
        for index in np.argsort(-largest, kind="stable")[:WORST]
    ]


def label_of(definition: ModelDefinition, number: int) -> str:
    """The class's name, or its number."""
    return definition.labels[number] if definition.labels else str(number)


def share(probability: float) -> str:
    """In percent; what is only nearly none or all does not look like it."""
    if 0 < probability < ROUNDS_TO_NONE:
        return "<0.1%"
    if ROUNDS_TO_ALL <= probability < 1:
        return ">99.9%"
    return f"{probability:.1%}"


def numbers(array: npt.NDArray[Any]) -> str:
    """The first few."""
    flat = array.ravel()
    rest = ", …" if flat.size > NUMBERS_SHOWN else ""
    return ", ".join(f"{value:.4g}" for value in flat[:NUMBERS_SHOWN]) + rest


def _confusion_row(
    definition: ModelDefinition, number: int, counts: npt.NDArray[np.int64], shown: npt.NDArray[np.intp]
) -> ConfusionRow:
    examples, of_shown = int(counts.sum()), counts[shown]
    return ConfusionRow(
        label=label_of(definition, number),
        counts=of_shown.tolist(),
        elsewhere=examples - int(of_shown.sum()),
        right=share(float(counts[number] / examples)) if examples else "",
    )


def _classified(facts: ReportFacts, index: int) -> WorstExample:
    probabilities, truth = facts.test_outputs[index], int(facts.test_targets[index])
    answer = int(probabilities.argmax())
    wanted, came = (
        f"{label_of(facts.definition, number)} ({share(float(probabilities[number]))})"
        for number in (truth, answer)
    )
    return WorstExample(
        picture=picture_of(facts.definition, facts.test_inputs[index]) or "",
        wanted=wanted,
        came=came,
        values=numbers(facts.test_inputs[index]),
        is_wrong=answer != truth,
    )
