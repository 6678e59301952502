"""The report: one page with everything inside, whatever the model."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest

from seqserve_models.definition import ExampleShape, ModelDefinition
from seqserve_models.evaluate import evaluate
from seqserve_models.progress import EpochReport
from seqserve_models.report import ReportFacts, confusion_of, render_report, share
from seqserve_models.shapes import LayerRow
from seqserve_models.zoo import find_model

VOID = {"meta", "img", "br", "link", "hr"}
EPOCHS = tuple(EpochReport(n, 5, 1 / n, 0.1 * n, 1.1 / n, 0.09 * n) for n in range(1, 6))


class Balanced(HTMLParser):
    """Fails on a tag that is not closed where it should be; keeps what the tests look for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.ids: list[str | None] = []
        self.alts: list[str | None] = []
        self.cells: list[str] = []
        self.wrong_answers: list[str] = []
        self.text = ""
        self.in_wrong_answer = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._count(tag, attrs)
        self.in_wrong_answer = ("class", "wrong-answer") in attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._count(tag, attrs)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data
        if "td" in self.open:
            self.cells.append(data)
        if self.in_wrong_answer:
            self.wrong_answers.append(data)
            self.in_wrong_answer = False

    def _count(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.ids += [value for name, value in attrs if name == "id"]
        self.alts += [value for name, value in attrs if name == "alt"]


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
    assert not re.search(r"<script|<link|@import|url\((?!#)|https?:", page)


@pytest.mark.parametrize("kind", ["classifier", "regression"])
def test_an_id_is_there_once_and_what_is_referred_to_is_there(kind: str) -> None:
    facts = DIGITS if kind == "classifier" else regression()
    ids = parsed(facts).ids
    assert len(ids) == len(set(ids))
    page = render_report(facts).decode()
    referred = re.findall(r"(?:url\(#|href=\"#|aria-labelledby=\")([\w-]+)", page)
    assert referred
    assert set(referred) <= set(ids)


def test_the_page_of_a_digit_classifier_is_small() -> None:
    assert len(render_report(DIGITS)) < 500_000


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
    assert f"{100 * DIGITS.evaluation.metrics['accuracy']:.2f}%" in text
    assert f"classifier of 10 classes, trained on digits: {DIGITS.evaluation.headline} on 40 held-out" in text


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
    answer = facts.test_outputs[worst].argmax()
    assert page.alts[0] == (
        f"Wanted {facts.test_targets[worst]} ({truth[worst]:.1%}), "
        f"answered {answer} ({facts.test_outputs[worst, answer]:.1%})"
    )


def test_only_a_wrong_answer_is_marked_as_wrong() -> None:
    sure = np.array([[0.6, 0.4], [0.9, 0.1], [0.3, 0.7]], np.float32)
    definition = replace(find_model("digit_mlp"), output_shape=(2,), labels=("even", "odd"))
    facts = replace(
        classifier(definition, (28, 28), 3),
        test_outputs=sure,
        test_targets=np.array([1, 0, 1]),
        evaluation=evaluate(sure, np.array([1, 0, 1])),
    )
    page = parsed(facts)
    assert page.wrong_answers == ["even (60.0%)"]
    assert "1 of 3 were answered wrongly" in page.text


def test_a_probability_that_is_only_nearly_none_or_all_does_not_look_like_it() -> None:
    assert [share(value) for value in (0.0, 1e-4, 0.5, 0.9999, 1.0)] == [
        "0.0%",
        "<0.1%",
        "50.0%",
        ">99.9%",
        "100.0%",
    ]


def test_a_picture_in_colour() -> None:
    definition = replace(
        find_model("digit_mlp"), input_shape=(3, 4, 5), example_shapes=(ExampleShape((3, 4, 5), "CHW"),)
    )
    assert parsed(classifier(definition, (3, 4, 5))).counts["img"] == 12


def test_channels_that_no_screen_has_are_numbers() -> None:
    definition = replace(
        find_model("digit_mlp"), input_shape=(6, 4, 5), example_shapes=(ExampleShape((6, 4, 5), "CHW"),)
    )
    assert "img" not in parsed(classifier(definition, (6, 4, 5))).counts


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
    assert "ight answers" not in text
    assert "mean is 0.01," in text


def test_of_a_regression_the_largest_error_comes_first_with_its_size() -> None:
    facts = regression()
    came = facts.test_outputs.copy()
    came[7] += np.float32(3)
    page = parsed(replace(facts, test_outputs=came, evaluation=evaluate(came, facts.test_targets)))
    first_row = (facts.test_inputs[7, 0], facts.test_targets[7, 0], came[7, 0], 3.01)
    assert page.cells[:4] == [f"{float(value):.4g}" for value in first_row]


@pytest.mark.parametrize("error", [0.0, 0.01, 1e6])
def test_a_regression_with_a_single_held_out_example(error: float) -> None:
    facts = regression(1)
    came = facts.test_targets + np.float32(error)
    facts = replace(facts, test_outputs=came, evaluation=evaluate(came, facts.test_targets))
    assert "on 1 held-out example." in parsed(facts).text


def test_errors_beyond_fp32_are_shown() -> None:
    far = np.full((30, 1), 3e38, np.float32)
    assert "6e+38" in parsed(replace(regression(), test_outputs=far, test_targets=-far)).text


def test_names_from_outside_are_text_and_no_markup() -> None:
    labels = ("<b>zero</b>", *"123456789")
    page = render_report(classifier(replace(find_model("digit_mlp"), labels=labels), (28, 28))).decode()
    assert "<b>zero" not in page
    assert "&lt;b&gt;zero" in page
    assert "&lt;out&gt;" in page


def test_one_epoch_and_no_epoch() -> None:
    page = parsed(replace(DIGITS, history=EPOCHS[:1]))
    assert page.counts["svg"] == 2
    assert "0.96" not in page.text  # there are no fractions of an epoch
    text = parsed(replace(DIGITS, history=())).text
    assert "It was not trained here." in text
    assert "trained on digits" not in text


@pytest.mark.parametrize(("fall", "is_logarithmic"), [(0.5, False), (0.01, True)])
def test_the_loss_gets_a_log_scale_where_it_falls_far(fall: float, *, is_logarithmic: bool) -> None:
    history = tuple(replace(one, loss=fall**one.epoch**0.5, test_loss=0.5) for one in EPOCHS)
    page = render_report(replace(DIGITS, history=history)).decode()
    # Powers of ten stand with a raised exponent, in a text of several parts.
    assert ("<tspan" in page) == is_logarithmic


def test_layers_that_could_not_be_followed_are_said() -> None:
    assert "cannot be followed" in parsed(replace(DIGITS, layers=())).text


def test_of_many_classes_those_with_most_errors_are_shown() -> None:
    many = replace(find_model("digit_mlp"), output_shape=(1000,), labels=())
    page = parsed(classifier(many, (28, 28)))
    assert "975 others are left out" in page.text
    assert page.counts["td"] < 1000


def test_answers_outside_the_classes_shown_are_counted_in_their_row() -> None:
    many = replace(find_model("digit_mlp"), output_shape=(1000,), labels=())
    confusion = confusion_of(classifier(many, (28, 28), 400))
    assert confusion is not None
    counts = classifier(many, (28, 28), 400).evaluation.confusion
    assert counts is not None
    for row in confusion.rows:
        assert sum(row.counts) + row.elsewhere == counts[int(row.label)].sum()


def test_of_many_labels_the_first_are_listed() -> None:
    labels = tuple(f"kind{number}" for number in range(1000))
    text = parsed(
        classifier(replace(find_model("digit_mlp"), output_shape=(1000,), labels=labels), (28, 28))
    ).text
    assert "kind99 and 900 more" in text


def test_equal_facts_give_equal_bytes() -> None:
    assert render_report(DIGITS) == render_report(DIGITS)
    assert render_report(regression()) == render_report(regression())


def test_a_style_of_the_users_own_changes_nothing_and_stays_as_it_is() -> None:
    expected = render_report(DIGITS)
    with mpl.rc_context({"lines.linewidth": 9.0, "axes.facecolor": "red"}):
        assert render_report(DIGITS) == expected
        assert mpl.rcParams["lines.linewidth"] == 9.0
