"""What the measurement through TorchServe has found is taken from its run on the same machine, or not at all."""

from __future__ import annotations

from pathlib import Path

from bench.pairs import Ratio
from bench.targets import TARGETS
from bench.through import TARGETS as NAMES
from bench.through import read_ratios, write_ratios

FACTS = {"processor": "Some CPU", "torch": "2.13.0"}
RATIOS = {name: Ratio(1.0, 0.9, 1.1) for name in NAMES}


def test_its_targets_are_among_ours() -> None:
    assert set(NAMES) <= {target.name for target in TARGETS}


def test_a_run_is_read_again(tmp_path: Path) -> None:
    write_ratios(RATIOS, FACTS, tmp_path / "docs")

    assert read_ratios(FACTS, tmp_path / "docs") == (RATIOS, {})


def test_without_a_run_it_says_how_to_have_one(tmp_path: Path) -> None:
    ratios, absent = read_ratios(FACTS, tmp_path)

    assert ratios == {}
    assert absent == dict.fromkeys(NAMES, "make bench-torchserve has not been run")


def test_a_run_on_another_machine_is_none(tmp_path: Path) -> None:
    write_ratios(RATIOS, FACTS, tmp_path)

    ratios, absent = read_ratios(FACTS | {"torch": "2.14.0"}, tmp_path)

    assert ratios == {}
    assert "on this machine with these versions" in absent["through-raw"]
