"""What bench.through_torchserve has found, kept from its run for the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from bench.pairs import Ratio

NAME = "through_torchserve.json"
RUN = "make bench-torchserve has not been run"
TARGETS = ("through-raw", "through-json", "through-single")
"""Names of bench/targets.py."""


def write_ratios(ratios: Mapping[str, Ratio], facts: Mapping[str, str], folder: Path) -> None:
    """One file. ratios: by the targets' names."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {"facts": dict(facts), "ratios": {name: asdict(ratio) for name, ratio in ratios.items()}}
    (folder / NAME).write_text(json.dumps(written, indent=1) + "\n")


def read_ratios(facts: Mapping[str, str], folder: Path) -> tuple[dict[str, Ratio], dict[str, str]]:
    """Ratios by the targets' names, and why others are not there. facts: of this machine."""
    file = folder / NAME
    if not file.exists():
        return {}, dict.fromkeys(TARGETS, RUN)
    written = json.loads(file.read_text())
    if written["facts"] != dict(facts):
        return {}, dict.fromkeys(TARGETS, f"{RUN} on this machine with these versions")
    return {name: Ratio(**ratio) for name, ratio in written["ratios"].items()}, {}
