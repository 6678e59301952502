"""Servers of the benchmark that end while they are measured."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from bench.serving import Server, ServerFailed, started


def test_one_that_is_gone_is_told_of_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with started([sys.executable, "-c", "raise SystemExit('no room')"], 0, log) as process:
        process.wait()

        with pytest.raises(ServerFailed, match="exit status 1:\nno room"):
            Server({}, process, log).memory_bytes()


def test_one_that_has_ended_needs_no_stopping(tmp_path: Path) -> None:
    with started([sys.executable, "-c", ""], 0, tmp_path / "server.log") as process:
        process.wait()

    assert not psutil.pid_exists(process.pid)
