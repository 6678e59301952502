"""The file in which the `torchserve` command keeps its process id: a TorchServe that is not ours."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from seqserve.doctor.finding import Finding, ok, warning
from seqserve.doctor.programs import is_torchserve

CHECK = "pid-file"
NAME = ".model_server.pid"  # ts/model_server.py


def check_pid_file(folder: Path | None = None, runs: Callable[[int], bool] = is_torchserve) -> list[Finding]:
    """Whether somebody else's TorchServe runs here, or has left its file. folder: None is the system's."""
    path = (folder or Path(tempfile.gettempdir())) / NAME
    try:
        program = int(path.read_text().partition("\n")[0])
    except FileNotFoundError:
        return [ok(CHECK, f"no {path}")]
    except (OSError, ValueError) as error:
        found = f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it holds no number'}"
        return [warning(CHECK, found, f"Remove it, `torchserve` would stumble over it: rm {path}.")]
    if runs(program):
        found = f"a TorchServe that is not this gateway's runs here (process {program}, by {path})"
        return [warning(CHECK, found, "Stop it with `torchserve --stop` where it is not wanted.")]
    return [warning(CHECK, f"{path} was left by a TorchServe that is gone", f"Remove it: rm {path}.")]
