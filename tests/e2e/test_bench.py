"""The benchmark runs to its end, on figures too short to mean anything; it checks every path's answers itself."""

from __future__ import annotations

import importlib.util
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
    pytest.mark.skipif(
        importlib.util.find_spec("ts") is None, reason="the extra `torchserve` is not installed"
    ),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="it takes two cores"),
]


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
