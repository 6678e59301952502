"""What a process takes: memory, open files, threads; sampled while it works."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Footprint:
    """At one moment. seconds: since the first sample; memory_bytes: what is the process's own, anonymous memory."""

    seconds: float
    memory_bytes: int
    descriptors: int
    threads: int


def footprint(process: int, began: float) -> Footprint:
    """Of a process now. began: time.monotonic() of the first sample."""
    folder = Path("/proc") / str(process)
    fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return Footprint(
        seconds=time.monotonic() - began,
        memory_bytes=int(fields["RssAnon"].split()[0]) * 1024,
        descriptors=len(list((folder / "fd").iterdir())),
        threads=int(fields["Threads"]),
    )


async def sample_without_end(process: int, every_seconds: float, into: list[Footprint]) -> None:
    """One sample after the other."""
    began = time.monotonic()
    while True:
        into.append(footprint(process, began))
        await asyncio.sleep(every_seconds)
