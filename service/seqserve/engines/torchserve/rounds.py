"""When to look after a TorchServe again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

CALM_SECONDS = 3.0
UNREST_SECONDS = 0.5
"""Between two looks, while something is away."""


@dataclass(frozen=True, slots=True)
class Time:
    """Monotonic time, in seconds, as something that is passed in, so that tests decide what time it is."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def wait(self, tasks: Collection[asyncio.Task[None]], seconds: float) -> None:
        """Return when all of them are done, or after so many seconds."""
        if not tasks:
            return
        waits = [asyncio.ensure_future(asyncio.wait(tasks)), asyncio.ensure_future(self.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


class Rounds:
    """Looks follow each other at a measured pace; who has seen a fault calls for the next at once."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self._is_due = asyncio.Event()

    def call(self) -> None:
        """Have the next look now, or right after the one that is being taken."""
        self._is_due.set()

    async def next(self, *, is_calm: bool) -> None:
        """Return when the next look is due."""
        waits = [
            asyncio.ensure_future(self._time.sleep(CALM_SECONDS if is_calm else UNREST_SECONDS)),
            asyncio.ensure_future(self._is_due.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._is_due.clear()
