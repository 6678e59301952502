"""Time that stands still until a test moves it."""

from __future__ import annotations

import asyncio

from seqserve.engines.timing import Time
from support.batching import FakeClock, settle


class FakeTime(FakeClock):
    """Whoever sleeps is woken by `pass_by`. slept: how long each sleep was to be."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    @property
    def time(self) -> Time:
        """To be handed to what is tested."""
        return Time(now=self.now, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        woken = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():  # whoever slept was woken otherwise in the meantime
                woken.set_result(None)

        timer = self.call_at(self.now() + seconds, wake)
        try:
            await woken
        finally:
            timer.cancel()

    async def pass_by(self, seconds: float) -> None:
        """Let time pass, and everybody do what was due."""
        self.advance(seconds)
        await settle()
