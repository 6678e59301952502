"""Ctrl-C in a real build: exit status 130, and the command that it prints goes on to the same archive."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.served import environment, run

ASKED = ("build", "line", "--epochs", "400", "--output")
# A shell has its jobs in the background ignore Ctrl-C, and so do all that they start.
LISTENING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from seqserve.cli import main
main()
"""


@pytest.mark.long  # its parts are tested in the process, in tests/models/test_build_unfinished.py
def test_an_interrupted_build_goes_on_with_the_command_that_it_prints(tmp_path: Path) -> None:
    store = tmp_path / "my store"
    with subprocess.Popen(
        [sys.executable, "-uc", LISTENING, *ASKED, store],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch 40/400"):
                process.send_signal(signal.SIGINT)
                break
        said = process.stdout.read()
    assert process.returncode == 130
    assert [path.name for path in store.iterdir()] == ["line-1.unfinished.pt"]

    command = said[said.index("to go on: seqserve ") :].splitlines()[0].removeprefix("to go on: seqserve ")
    went_on = run(*shlex.split(command))
    assert went_on.returncode == 0, went_on.stderr
    assert "going on after epoch" in went_on.stdout
    whole = run(*ASKED, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    name = "line-1.mar"
    assert (store / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
