"""The demo, as `make demo` runs it, but for the length of its training, which test_readme.py has in full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.served import environment

ROOT = Path(__file__).parents[2]


def test_the_demo_agrees_and_leaves_nothing_in_the_repository() -> None:
    before = {path.name for path in ROOT.iterdir()}

    ended = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--epochs", "8"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ended.returncode == 0, ended.stdout + ended.stderr
    for path in ("(a) OIP", "(b) own API", "(c) TorchServe", "(d) OIP to TorchServe"):
        assert path in ended.stdout
    assert "All paths agree" in ended.stdout
    assert {path.name for path in ROOT.iterdir()} <= before
