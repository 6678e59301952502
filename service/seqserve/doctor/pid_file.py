"""The file in which the `torchserve` command keeps its process id: a TorchServe that is not ours."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from shlex import quote

from seqserve.doctor.finding import Finding, ok, warning
from seqserve.doctor.programs import is_torchserve
from seqserve.regular_file import read_regular

CHECK = "pid-file"
NAME = ".model_server.pid"  # ts/model_server.py
MAX_BYTES = 64
MAX_PROCESS_ID = 2**31 - 1


def check_pid_file(folder: Path | None = None, runs: Callable[[int], bool] = is_torchserve) -> list[Finding]:
    """Whether somebody else's TorchServe runs here, or has left its file. folder: None is the system's."""
    path = (folder or Path(tempfile.gettempdir())) / NAME
    remove = f"rm {quote(str(path))}"
    try:
        program = _process_id(read_regular(path, MAX_BYTES))  # the folder is everybody's
    except FileNotFoundError:
        return [ok(CHECK, f"no {path}")]
    except (OSError, ValueError) as error:
        found = f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it holds no number'}"
        return [warning(CHECK, found, f"Remove it, `torchserve` would stumble over it: {remove}.")]
    if runs(program):
        found = f"a TorchServe that is not this gateway's runs here (process {program}, by {path})"
        return [warning(CHECK, found, "Stop it with `torchserve --stop` where it is not wanted.")]
    return [warning(CHECK, f"{path} was left by a TorchServe that is gone", f"Remove it: {remove}.")]


def _process_id(content: bytes) -> int:
    """Raises ValueError."""
    program = int(content.partition(b"\n")[0])
    if not 0 < program <= MAX_PROCESS_ID:
        raise ValueError("no process has such an id")
    return program
