"""Callers that ask without a pause, each for its own row, and what became of their calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import numpy as np

from support.archives import FloatArray
from support.engines import expected_answers

Ask = Callable[[FloatArray], Awaitable[FloatArray]]
"""Sends one example and returns the model's values; raises what went wrong."""


@dataclass
class Callers:
    """answered: good answers. wrong: answers that belong to another row, or to none."""

    ask: Ask
    shape: tuple[int, ...]
    answered: int = 0
    wrong: int = 0
    failures: list[Exception] = field(default_factory=list)
    is_over: bool = False

    @property
    def kinds(self) -> Counter[str]:
        """Of the failures."""
        return Counter(_kind(error) for error in self.failures)

    async def call(self, number: int, of: int) -> None:
        """Ask until it is over. number: which of the callers; each has a row of its own."""
        row = np.full(self.shape, (number + 1) / (of + 1), np.float32)
        expected = expected_answers(row[None], 2)[0]
        while not self.is_over:
            try:
                values = await self.ask(row)
            except Exception as error:  # noqa: BLE001 - the test looks at it
                self.failures.append(error)
            else:
                is_right = np.allclose(values, expected, atol=1e-6)
                self.answered += is_right
                self.wrong += not is_right

    async def until_answered(self, more: int) -> None:
        """Return when so many more calls have been answered."""
        target = self.answered + more
        while self.answered < target:  # noqa: ASYNC110 - replies set no event
            await asyncio.sleep(0.01)


def _kind(error: Exception) -> str:
    """GRPC's name of the code, or what it is."""
    return error.code().name if isinstance(error, grpc.RpcError) else repr(error)


@asynccontextmanager
async def calling(ask: Ask, count: int, shape: tuple[int, ...] = (2, 3)) -> AsyncIterator[Callers]:
    """So many callers for the length of the block; every call has ended when it is left."""
    callers = Callers(ask, shape)
    tasks = [asyncio.create_task(callers.call(number, count)) for number in range(count)]
    try:
        await callers.until_answered(2 * count)
        yield callers
    finally:
        callers.is_over = True
        await asyncio.gather(*tasks)
