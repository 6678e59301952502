"""The benchmark runs to its end, on figures too short to mean anything; it checks every path's answers itself."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench.machine import facts
from bench.native import missing_native
from bench.targets import GPU, TARGETS
from bench.through import TARGETS as NAMES
from bench.through import read_ratios
from support.served import environment

ROOT = Path(__file__).parents[2]
README = ROOT / "bench" / "README.md"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="it takes two cores"),
]


@pytest.mark.skipif(importlib.util.find_spec("ts") is None, reason="the extra `torchserve` is not installed")
def test_the_path_through_torchserve_is_compared_with_every_other(store: Path, tmp_path: Path) -> None:
    commands = re.findall("^python -m bench.through_torchserve .*$", README.read_text(), re.MULTILINE)
    shorter = {"model-store": str(store), "60": "0.1", "5": "0.1", "7": "6", "docs": str(tmp_path)}

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
    assert read_ratios(facts(), tmp_path)[0].keys() == set(NAMES)


def short(store: Path, output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The benchmark with figures too short to mean anything."""
    shorter = ["--seconds", "0.4", "--pairs", "6", "--beside", "1"]
    where = ["--model-store", str(store), "--output", str(output)]
    return subprocess.run(
        [sys.executable, "-m", "bench.fronts", *where, *shorter, *options],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("programs")
def test_the_page_has_every_target_and_what_was_measured(store: Path, tmp_path: Path) -> None:
    done = short(store, tmp_path)

    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "performance.json").read_text())
    targets = {each["name"]: each for each in record["targets"]}
    assert targets.keys() == {target.name for target in TARGETS}
    fronts = ["python", *([] if missing_native() else ["native"])]
    unmeasured = {name for name, each in targets.items() if each["verdict"] == "not measured"}
    of_peers = {name for name in targets if name.endswith(("-peer", "-peer-stretch"))}
    of_others = {"torchserve-64", *(name for name in targets if name.startswith("through-"))}
    memory = {name for name in targets if name.endswith("-slow-memory")}  # takes a pair more
    natives = {name for name in targets if name.startswith("native-")} if len(fronts) == 1 else set()
    refusals = {name for name in targets if name.endswith("-refusals")}  # so short an overload may have none
    assert unmeasured - refusals == (of_peers | of_others | memory | natives | {GPU}) - refusals
    assert all(targets[name]["why"] for name in unmeasured)
    answered = Counter[
        tuple[str, str]
    ]()  # of all trials of a kind: one alone may be too short on a busy machine
    for trial in record["measured"]["results"]["trials"]:
        answered[trial["front"], str(trial["load"])] += trial["outcome"]["codes"]["OK"]["count"]
    assert all(answered.values()), answered
    page = (tmp_path / "performance.md").read_text()
    assert all(f"| {each['what']}" in page for each in targets.values())
    assert "<svg" in (tmp_path / "performance.svg").read_text()


def test_the_engine_and_the_bare_forward_are_timed_in_pairs(store: Path) -> None:
    command = [sys.executable, "-m", "bench.references.engine", str(store / "digit_mlp-1.mar"), "cpu", "2"]

    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    pairs = json.loads(done.stdout)
    assert len(pairs) == 2
    assert all(ours > 0 and forward > 0 for ours, forward in pairs)


@pytest.mark.usefixtures("programs")
def test_a_part_writes_no_page(store: Path, tmp_path: Path) -> None:
    done = short(store, tmp_path, "--only", "json")

    assert done.returncode == 0, done.stderr
    assert "64 callers, JSON over HTTP: " in done.stdout
    assert not (tmp_path / "performance.md").exists()
