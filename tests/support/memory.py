"""How much memory something took at its peak, Python's alone or the whole process's."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20


@dataclass
class Peak:
    """Bytes beyond what was there before, once the block is over."""

    bytes: int = 0


@contextmanager
def python_peak() -> Iterator[Peak]:
    """Of Python's own allocations in the block, NumPy's arrays included."""
    peak = Peak()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield peak
        peak.bytes = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@contextmanager
def process_peak() -> Iterator[Peak]:
    """Of the whole process in the block, gRPC's C core included."""
    peak = Peak()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status_bytes("VmRSS")
    yield peak
    peak.bytes = _status_bytes("VmHWM") - before


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
