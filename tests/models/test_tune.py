"""`seqserve tune` over a real archive: what it proposes, a gateway would take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from seqserve.cores import available_cores
from seqserve.tuning.curves import doublings
from support.command import seqserve
from support.torchscript import digit_archive, line_archive, scripted


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Measuring sets torch's threads for the whole program."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_an_archive_is_measured_at_every_batch_size_and_number_of_threads(tmp_path: Path) -> None:
    digit_archive(tmp_path)
    plot = tmp_path / "curve.png"
    ended = seqserve(
        "tune", "digit", "--p99", "1000s", "--rounds", "100", "--json", "--device", "cpu",
        "--model-store", str(tmp_path), "--plot", str(plot),
    )  # fmt: skip
    assert ended.status == 0, ended.errors
    document = json.loads(ended.output)
    [model] = document["models"]

    assert document["device"] == "cpu"
    assert [(point["threads"], point["batch_size"]) for point in model["points"]] == [
        (threads, size) for threads in doublings(available_cores()) for size in doublings(256)
    ]
    for point in model["points"]:
        assert point["rounds"] == 100
        assert 0 < point["median_seconds"] <= point["p99_seconds"]
    assert model["proposed"]["p99_bound_seconds"] <= 1000
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_larger_batches_are_left_out_behind_one_that_takes_too_long(tmp_path: Path) -> None:
    digit_archive(tmp_path)
    ended = seqserve(
        "tune", "--p99", "0.001us", "--rounds", "100", "--json", "--device", "cpu",
        "--model-store", str(tmp_path), "--no-plot",
    )  # fmt: skip
    [model] = json.loads(ended.output)["models"]

    assert ended.status == 1
    assert {point["batch_size"] for point in model["points"]} == {1}
    assert "digit 1: no batch size keeps to 0.001 us" in ended.one_line


def test_an_archive_that_does_not_answer_its_golden_rows_is_refused(tmp_path: Path) -> None:
    line_archive(tmp_path, scripted(torch.nn.Linear(1, 1).eval()))
    ended = seqserve("tune", "--p99", "5ms", "--device", "cpu", "--model-store", str(tmp_path), "--no-plot")

    assert (ended.status, ended.output) == (1, "")
    assert "line 1: golden check: answers differ" in ended.one_line
