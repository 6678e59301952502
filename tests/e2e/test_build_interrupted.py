"""Ctrl-C in a real build: exit status 130, and the command that it prints goes on to the same archive."""

from __future__ import annotations

import shlex
import signal
import subprocess
from pathlib import Path

from support.served import SEQSERVE, environment, run

ASKED = ("build", "digit_bottleneck", "--epochs", "8", "--output")


def test_an_interrupted_build_goes_on_with_the_command_that_it_prints(tmp_path: Path) -> None:
    store = tmp_path / "my store"
    with subprocess.Popen(
        [SEQSERVE, *ASKED, store],
        stdout=subprocess.PIPE,
        text=True,
        env=environment() | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch 2/8"):
                process.send_signal(signal.SIGINT)
                break
        said = process.stdout.read()
    assert process.returncode == 130
    assert [path.name for path in store.iterdir()] == ["digit_bottleneck-1.unfinished.pt"]

    command = said[said.index("to go on: seqserve ") :].splitlines()[0].removeprefix("to go on: seqserve ")
    went_on = run(*shlex.split(command))
    assert went_on.returncode == 0, went_on.stderr
    assert "going on after epoch" in went_on.stdout
    whole = run(*ASKED, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    name = "digit_bottleneck-1.mar"
    assert (store / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
