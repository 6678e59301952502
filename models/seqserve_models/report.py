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
NUMBERS_SHOWN = 6


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
class Confusion:
    """Counts of answers, a row for each true class; `left_out` classes are not shown."""

    labels: Sequence[str]
    rows: Sequence[Sequence[int]]
    most_wrong: int
    left_out: int


@dataclass(frozen=True)
class WorstExample:
    """An example that the model answered badly; texts as they are shown. picture: a data URI, or empty."""

    picture: str
    wanted: str
    came: str
    values: str


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
        curves=charts.curves(facts.history) if facts.history else "",
        value_chart="" if is_classifier else charts.values(facts.test_targets, facts.test_outputs),
        confusion=confusion_of(facts),
        worst=worst_classified(facts) if is_classifier else largest_errors(facts),
        parameters=sum(row.parameters for row in facts.layers),
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
        labels=[label_of(facts.definition, int(number)) for number in shown],
        rows=counts[np.ix_(shown, shown)].tolist(),
        most_wrong=int(wrong.max()),
        left_out=len(counts) - len(shown),
    )


def worst_classified(facts: ReportFacts) -> list[WorstExample]:
    """Those whose true class got the smallest probability."""
    outputs, classes = facts.test_outputs, facts.test_targets
    of_truth = outputs[np.arange(len(classes)), classes]  # [n]
    return [
        _example(
            facts,
            index,
            wanted=f"{label_of(facts.definition, int(classes[index]))} ({of_truth[index]:.1%})",
            came=f"{label_of(facts.definition, int(outputs[index].argmax()))} ({outputs[index].max():.1%})",
        )
        for index in np.argsort(of_truth, kind="stable")[:WORST]
    ]


def largest_errors(facts: ReportFacts) -> list[WorstExample]:
    """Those of a regression that are furthest off."""
    differences = np.abs(facts.test_outputs - facts.test_targets).reshape(len(facts.test_targets), -1)
    return [
        _example(
            facts,
            index,
            wanted=numbers(facts.test_targets[index]),
            came=numbers(facts.test_outputs[index]),
        )
        for index in np.argsort(-differences.max(axis=1), kind="stable")[:WORST]
    ]


def label_of(definition: ModelDefinition, number: int) -> str:
    """The class's name, or its number."""
    return definition.labels[number] if definition.labels else str(number)


def numbers(array: npt.NDArray[Any]) -> str:
    """The first few."""
    flat = array.ravel()
    rest = ", …" if flat.size > NUMBERS_SHOWN else ""
    return ", ".join(f"{value:.4g}" for value in flat[:NUMBERS_SHOWN]) + rest


def _example(facts: ReportFacts, index: int, *, wanted: str, came: str) -> WorstExample:
    inputs = facts.test_inputs[index]
    return WorstExample(picture_of(facts.definition, inputs) or "", wanted, came, numbers(inputs))
