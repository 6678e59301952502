"""How far a download has come, for whoever waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

LINES_A_FILE = 4
# What counts as the whole of a file whose size the server does not tell.
ASSUMED_BYTES = 2**26


class Transfer(Protocol):
    """Hears how far a file has come."""

    def advance(self, name: str, received_bytes: int, total_bytes: int | None) -> None:
        """At most 20 times for each try; `total_bytes` is None where the server does not tell."""


class StepTransfer:
    """Turns a transfer into lines, at most four for each try: `train-images-idx3-ubyte.gz: 4.8 of 9.6 MB`."""

    def __init__(self, step: Callable[[str], None]) -> None:
        self._step = step
        self._told = ("", 0)

    def advance(self, name: str, received_bytes: int, total_bytes: int | None) -> None:
        """One line for every quarter; of an unknown size, for every quarter of 64 MB."""
        told = (name, received_bytes * LINES_A_FILE // (total_bytes or ASSUMED_BYTES))
        if told[1] > 0 and told != self._told:
            self._step(f"{name}: {_amount(received_bytes, total_bytes)}")
        self._told = told


def _amount(received_bytes: int, total_bytes: int | None) -> str:
    unit, size, digits = ("MB", 10**6, 1) if (total_bytes or received_bytes) >= 10**6 else ("kB", 10**3, 0)
    of_total = "" if total_bytes is None else f" of {total_bytes / size:.{digits}f}"
    return f"{received_bytes / size:.{digits}f}{of_total} {unit}"
