"""The benchmark runs to its end, on figures too short to mean anything; it checks every path's answers itself."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.served import environment

ROOT = Path(__file__).parents[2]
README = ROOT / "bench" / "README.md"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="it takes two cores"),
]


@pytest.mark.skipif(importlib.util.find_spec("ts") is None, reason="the extra `torchserve` is not installed")
def test_the_path_through_torchserve_is_compared_with_every_other(store: Path) -> None:
    commands = re.findall("^python -m bench.through_torchserve .*$", README.read_text(), re.MULTILINE)
    shorter = {"model-store": str(store), "60": "0.1", "5": "0.1", "7": "6"}

    done = subprocess.run(
        [sys.executable, *(shorter.get(word, word) for word in commands[0].split()[1:])],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    table = done.stdout.rpartition("| --- |\n")[2].splitlines()
    assert [row.split(" | ")[-2] for row in table] == ["0.8", "2", "2"]
    assert all(row.split(" | ")[-1] in ("met |", "undecided |", "missed |") for row in table)


@pytest.mark.usefixtures("programs")
def test_the_fronts_are_compared_with_empty_servers(store: Path, tmp_path: Path) -> None:
    options = ["--model-store", str(store), "--output", str(tmp_path)]
    shorter = ["--seconds", "0.2", "--pairs", "6", "--beside", "1"]

    done = subprocess.run(
        [sys.executable, "-m", "bench.fronts", *options, *shorter],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "performance.json").read_text())
    assert len(record["targets"]) == 7
    assert all(trial["outcome"]["codes"]["OK"]["count"] > 0 for trial in record["results"]["trials"])
    page = (tmp_path / "performance.md").read_text()
    assert all(each["target"]["what"] in page for each in record["targets"])
    assert "<svg" in (tmp_path / "performance.svg").read_text()
