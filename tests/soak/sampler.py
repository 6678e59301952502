"""Measures a gateway again and again while callers are at it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from soak.callers import World
from support.footprint import Footprint, footprint, gauges

TASKS = "seqserve_event_loop_tasks"


@dataclass
class Sampler:
    """Of one process; keeps what it has found."""

    process: int
    samples: list[Footprint] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    async def sample(self, world: World) -> None:
        """Once. Raises KeyError where the gateway does not tell how many tasks it has."""
        tasks = int((await gauges(world.web))[TASKS])
        self.samples.append(footprint(self.process, self.began, tasks))

    def line(self) -> str:
        """The latest, in words."""
        if not self.samples:
            return "not measured yet"
        now = self.samples[-1]
        return (
            f"{now.memory_bytes >> 20} MiB, {now.descriptors} descriptors, {now.threads} threads, "
            f"{now.tasks} tasks"
        )
