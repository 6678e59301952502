"""Clients that others wrote: programs of `tests/e2e/clients`, each run in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqserve.signature import CPU_TOLERANCE
from support.archives import FloatArray
from support.served import environment

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "e2e" / "clients"
# What cannot share an environment with the gateway: an older protobuf, another tritonclient.
APART = ROOT / ".venv-clients"
PROGRAM_SECONDS = 120


@dataclass(frozen=True)
class Told:
    """What a client saw. client: its name and version."""

    client: str
    outcomes: dict[str, dict[str, Any]]

    def __getitem__(self, feature: str) -> Any:
        """What the feature gave. Fails with the client's traceback where it raised."""
        outcome = self.outcomes[feature]
        assert "raised" not in outcome, outcome["raised"]
        return outcome["answer"]


def ask(program: str, *arguments: str | Path, python: Path | None = None) -> Told:
    """Run a client program to its end. python: this one, or that of another environment."""
    asked = subprocess.run(
        [python or sys.executable, PROGRAMS / program, *arguments],
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
        env=environment(PYTHONPATH=str(ROOT / "tests")),
    )
    assert asked.returncode == 0, asked.stdout + asked.stderr
    return Told(**json.loads(asked.stdout.splitlines()[-1]))


def program_apart(name: str) -> Path:
    """A program of the clients' own environment; skips the test where it is not there."""
    path = APART / "bin" / name
    if not os.access(path, os.X_OK):
        pytest.skip(f"no {path.relative_to(ROOT)}: `make clients` installs it")
    return path


def assert_rows_agree(rows: Any, expected: FloatArray) -> None:
    """Each row within the bound of two paths on the CPU."""
    np.testing.assert_allclose(rows, expected, atol=CPU_TOLERANCE.absolute, rtol=CPU_TOLERANCE.relative)
