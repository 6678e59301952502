"""Monotonic time for engines, passed in so that tests decide what time it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass


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
