"""The report: one page with everything inside, whatever the model."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from seqserve_models.definition import ExampleShape, ModelDefinition
from seqserve_models.evaluate import evaluate
from seqserve_models.progress import EpochReport
from seqserve_models.report import ReportFacts, render_report
from seqserve_models.shapes import LayerRow
from seqserve_models.zoo import find_model

VOID = {"meta", "img", "br", "link", "hr"}
EPOCHS = tuple(EpochReport(n, 5, 1 / n, 0.1 * n, 1.1 / n, 0.09 * n) for n in range(1, 6))


class Balanced(HTMLParser):
    """Fails on a tag that is not closed where it should be; counts tags, keeps text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def classifier(
    definition: ModelDefinition, example_shape: tuple[int, ...], examples: int = 40
) -> ReportFacts:
    """Facts of a classifier that answers by chance."""
    generator = np.random.default_rng(0)
    classes = definition.output_shape[0]
    outputs = generator.random((examples, classes), np.float32)
    outputs /= outputs.sum(axis=1, keepdims=True)
    targets = generator.integers(0, classes, examples)
    return ReportFacts(
        definition=definition,
        version="3",
        dataset="digits",
        history=EPOCHS,
        layers=(LayerRow("h1", "Linear", (32,), 25120), LayerRow("<out>", "Linear", (10,), 330)),
        evaluation=evaluate(outputs, targets),
        test_inputs=generator.random((examples, *example_shape), np.float32),
        test_targets=targets,
        test_outputs=outputs,
        settings={"seed": 7, "epochs": 5},
        sizes={"archive": 123456},
        seconds={"training": 1.25},
        libraries={"torch": "2.13.0"},
        hashes={"archive": "ab" * 32},
    )


def regression(examples: int = 30) -> ReportFacts:
    """Facts of a line that is a little off."""
    x = np.linspace(0, 1, examples, dtype=np.float32)[:, np.newaxis]
    came = 2 * x + np.float32(0.01)
    facts = classifier(find_model("digit_mlp"), (28, 28), examples)
    return replace(
        facts,
        definition=find_model("line"),
        history=tuple(replace(one, accuracy=None, test_accuracy=None) for one in EPOCHS),
        evaluation=evaluate(came, 2 * x),
        test_inputs=x,
        test_targets=2 * x,
        test_outputs=came,
    )


def parsed(facts: ReportFacts) -> Balanced:
    page = render_report(facts).decode()
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


DIGITS = classifier(find_model("digit_mlp"), (28, 28))


def test_nothing_is_fetched_from_anywhere() -> None:
    page = render_report(DIGITS).decode()
    outside = [
        url for url in re.findall(r"(?:src|href)=\"([^\"]*)", page) if not url.startswith(("data:", "#"))
    ]
    assert outside == []
    assert not re.search(r"<script|<link|@import|url\((?!#)", page)


def test_what_was_given_is_on_the_page() -> None:
    text = parsed(DIGITS).text
    for expected in (
        "digit_mlp",
        "version 3",
        "25,450",
        "25,120",
        "123,456 bytes",
        "1.25 s",
        "2.13.0",
        "ab" * 32,
    ):
        assert expected in text
    assert f"{100 * DIGITS.evaluation.metrics['accuracy']:.2f} %" in text


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("digit_mlp", (28, 28)),
        ("digit_mlp", (784,)),
        ("digit_bottleneck", (1, 28, 28)),
        ("digit_nested", (28, 28, 1)),
    ],
)
def test_the_twelve_worst_pictures_are_shown_with_both_answers(name: str, shape: tuple[int, ...]) -> None:
    facts = classifier(find_model(name), shape)
    page = parsed(facts)
    assert page.counts["img"] == 12
    truth = facts.test_outputs[np.arange(40), facts.test_targets]
    worst = int(truth.argmin())
    assert f"wanted {facts.test_targets[worst]} ({truth[worst]:.1%})" in page.text


def test_a_picture_in_colour() -> None:
    definition = replace(
        find_model("digit_mlp"), input_shape=(3, 4, 5), example_shapes=(ExampleShape((3, 4, 5), "CHW"),)
    )
    assert parsed(classifier(definition, (3, 4, 5))).counts["img"] == 12


def test_a_model_without_pictures_gets_a_table_of_its_values() -> None:
    definition = replace(
        find_model("digit_mlp"), input_shape=(4,), input_name="petals", example_shapes=(), minimum=None
    )
    facts = classifier(definition, (4,))
    page = parsed(facts)
    assert "img" not in page.counts
    assert "petals" in page.text
    truth = facts.test_outputs[np.arange(40), facts.test_targets]
    assert f"{facts.test_inputs[truth.argmin(), 0]:.4g}" in page.text


def test_a_regression_shows_values_and_no_confusion() -> None:
    text = parsed(regression()).text
    assert "Predicted and wanted" in text
    assert "mean absolute error" in text
    assert "Confusion" not in text
    assert "right answers" not in text


def test_names_from_outside_are_text_and_no_markup() -> None:
    labels = ("<b>zero</b>", *"123456789")
    page = render_report(classifier(replace(find_model("digit_mlp"), labels=labels), (28, 28))).decode()
    assert "<b>zero" not in page
    assert "&lt;b&gt;zero" in page
    assert "&lt;out&gt;" in page


def test_one_epoch_and_no_epoch() -> None:
    assert "<svg" in render_report(replace(DIGITS, history=EPOCHS[:1])).decode()
    assert "It was not trained here." in parsed(replace(DIGITS, history=())).text


def test_layers_that_could_not_be_followed_are_said() -> None:
    assert "cannot be followed" in parsed(replace(DIGITS, layers=())).text


def test_of_many_classes_those_with_most_errors_are_shown() -> None:
    many = replace(find_model("digit_mlp"), output_shape=(300,), labels=())
    page = parsed(classifier(many, (28, 28)))
    assert "275 others are left out" in page.text
    assert page.counts["td"] < 1000


def test_equal_facts_give_equal_bytes() -> None:
    assert render_report(DIGITS) == render_report(DIGITS)
    assert render_report(regression()) == render_report(regression())
