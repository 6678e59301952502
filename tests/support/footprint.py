"""What a gateway takes: memory, open files, threads, tasks; at one moment."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Footprint:
    """At one moment. seconds: since the first sample; memory_bytes: what is the process's own, anonymous memory.

    tasks: asyncio's, as the gateway itself counts them, where it was asked.
    """

    seconds: float
    memory_bytes: int
    descriptors: int
    threads: int
    tasks: int


async def gauges(web: httpx.AsyncClient) -> dict[str, float]:
    """All metrics of a gateway by name, summed over their labels."""
    families = text_string_to_metric_families((await web.get("/metrics")).text)
    return {family.name: sum(sample.value for sample in family.samples) for family in families}


def footprint(process: int, began: float, tasks: int = 0) -> Footprint:
    """Of a process now. began: time.monotonic() of the first sample."""
    folder = Path("/proc") / str(process)
    fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return Footprint(
        seconds=time.monotonic() - began,
        memory_bytes=int(fields["RssAnon"].split()[0]) * 1024,
        descriptors=len(list((folder / "fd").iterdir())),
        threads=int(fields["Threads"]),
        tasks=tasks,
    )
