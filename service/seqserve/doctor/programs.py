"""Other programs of this machine: who listens on a port, and who runs. Their arguments stay untold."""

from __future__ import annotations

import psutil

TORCHSERVE = "org.pytorch.serve.ModelServer"


def holder_of(port: int) -> str | None:
    """Who listens on a TCP port, in words; None where that cannot be known."""
    try:
        listening = [one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    except (psutil.Error, OSError):
        return None
    ids = [one.pid for one in listening if one.laddr.port == port and one.pid]
    return words_of(ids[0]) if ids else None  # the programs of other users show no id


def words_of(program: int) -> str | None:
    """A running program as `a TorchServe (process 12)`; None where it is gone."""
    try:
        found = psutil.Process(program)
        name, arguments = found.name(), found.cmdline()
    except psutil.AccessDenied:
        return f"a program of somebody else (process {program})"
    except psutil.Error:
        return None
    if TORCHSERVE in arguments:
        name = "a TorchServe"
    elif any(word.endswith("/seqserve") for word in arguments) and "serve" in arguments:
        name = "a gateway, `seqserve serve`"
    return f"{name} (process {program})"


def is_torchserve(program: int) -> bool:
    """Whether that process runs and is a TorchServe."""
    return (words_of(program) or "").startswith("a TorchServe")
