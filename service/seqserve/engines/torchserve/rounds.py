"""When to look after a TorchServe again."""

from __future__ import annotations

import asyncio

from seqserve.engines.timing import Time

CALM_SECONDS = 3.0
UNREST_SECONDS = 0.5
"""Between two looks, while something is away."""


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
        await self.after(CALM_SECONDS if is_calm else UNREST_SECONDS)

    async def after(self, seconds: float) -> None:
        """Return after so long, or when it is called for."""
        waits = [
            asyncio.ensure_future(self._time.sleep(seconds)),
            asyncio.ensure_future(self._is_due.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._is_due.clear()
