"""`seqserve check`: the table, its exit statuses, and one line for what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import seqserve

NET = """
from torch import nn

def build(features=25):
    return nn.Sequential(nn.Sequential(nn.Linear(100, 5)), nn.Sequential(nn.Linear(features, 10)))

FITS = build(5)
PLAIN = nn.Linear(100, 5)

class Gate(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x

GATED = nn.Sequential(nn.ReLU(), Gate())
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A file with a model whose layers fit and one whose layers do not."""
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def cells(output: str) -> list[list[str]]:
    """The rows of a table."""
    return [line.split() for line in output.splitlines() if line.strip() and "─" not in line]


def test_a_model_that_fits_is_shown_layer_by_layer() -> None:
    ended = seqserve("check", "digit_mlp", "--input-shape", "784")

    assert (ended.status, ended.errors) == (0, "")
    assert cells(ended.output)[1:] == [
        ["the", "input", "[784]"],
        ["h1", "Linear", "[32]", "25,120"],
        ["relu1", "ReLU", "[32]", "0"],
        ["out", "Linear", "[10]", "330"],
        ["softmax", "Softmax", "[10]", "0"],
        ["together", "25,450"],
    ]


def test_a_misfit_is_exit_status_1_below_the_layers_that_fit(net: Path) -> None:
    ended = seqserve("check", f"{net}:build", "--input-shape", "100")

    assert ended.status == 1
    assert ended.one_line == "seqserve: 1.0 Linear expects 25 features, gets 5 from 0.0"
    assert ["0.0", "Linear", "[5]", "505"] in cells(ended.output)
    assert "1.0" not in ended.output


def test_a_remedy_stands_behind_the_misfit() -> None:
    ended = seqserve("check", "digit_mlp", "--input-shape", "28,28")

    assert ended.status == 1
    assert ended.one_line.endswith("(nn.Flatten() before it makes 784 features of [28, 28])")


def test_what_is_no_sequential_is_exit_status_1(net: Path) -> None:
    ended = seqserve("check", f"{net}:PLAIN", "--input-shape", "100")

    assert (ended.status, ended.output) == (1, "")
    assert ended.one_line.endswith("net.py:PLAIN is an object of class Linear, not an nn.Sequential")


def test_a_layer_that_cannot_be_followed_is_exit_status_2(net: Path) -> None:
    ended = seqserve("check", f"{net}:GATED", "--input-shape", "4")

    assert ended.status == 2
    assert "1 Gate cannot be followed by shapes alone" in ended.one_line
    assert ["0", "ReLU", "[4]", "0"] in cells(ended.output)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nobody", ["'nobody'", "digit_mlp"]),
        ("gone.py:build", ["there is no file", "gone.py"]),
        ("{net}:buidl", ["has no 'buidl'", "there: build, FITS, PLAIN, Gate, GATED"]),
    ],
)
def test_what_cannot_be_loaded_is_exit_status_2_and_one_line(
    net: Path, target: str, words: list[str]
) -> None:
    ended = seqserve("check", target.format(net=net), "--input-shape", "100")

    assert (ended.status, ended.output) == (2, "")
    for word in words:
        assert word in ended.one_line


@pytest.mark.parametrize(
    "shape", ["28x28", "0", "-1,28", "28,", "", "1.5", "1,1,1,1,1,1,1,1,1", "٣", "[784]", "28, 28"]
)
def test_a_shape_that_cannot_be_read_is_refused_with_an_example(shape: str) -> None:
    ended = seqserve("check", "digit_mlp", "--input-shape", shape)

    assert (ended.status, ended.output) == (2, "")
    assert "such as 784 or 1,28,28, without the batch" in ended.one_line


def test_a_shape_of_more_numbers_than_any_example_has_is_refused() -> None:
    ended = seqserve("check", "digit_mlp", "--input-shape", "9999999999,9999999999")

    assert (ended.status, ended.output) == (2, "")
    assert "more than 2,147,483,648 numbers" in ended.one_line


def test_the_shape_must_be_declared() -> None:
    ended = seqserve("check", "digit_mlp")

    assert (ended.status, ended.output) == (2, "")
    assert "--input-shape" in ended.one_line


def test_the_help_says_that_the_file_is_run() -> None:
    assert "the file is run" in seqserve("check", "--help").output
