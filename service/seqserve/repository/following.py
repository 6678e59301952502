"""Follows the store for as long as the gateway serves: whatever goes wrong, what is loaded serves on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from seqserve.errors import StoreMissing
from seqserve.repository.sync import StoreSync
from seqserve.shortage import shortage_of

log = structlog.get_logger()

AGAIN_SECONDS = 2.0
"""Between two looks while an archive waits for its engine, or for files or threads."""


@dataclass(slots=True)
class Following:
    """Looks at the store when it may have changed, and when `wake` is called.

    changes: yields whenever a look is due. on_look: called after each look.
    sleep: lets seconds pass.
    """

    sync: StoreSync
    changes: Callable[[], AsyncIterator[None]]
    on_look: Callable[[], None]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _is_due: asyncio.Event = field(default_factory=asyncio.Event)
    _told: str = ""

    async def run(self) -> None:
        """Follow until this task is cancelled."""
        beside = [asyncio.create_task(self._watch()), asyncio.create_task(self._try_again())]
        try:
            while True:
                await self._is_due.wait()
                self._is_due.clear()
                await self.look()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    def wake(self) -> None:
        """Have a look taken soon, as labels and policies have changed."""
        self._is_due.set()

    async def look(self) -> None:
        """Look at the store once."""
        try:
            await self.sync.sync()
        except StoreMissing as error:
            self._tell(str(error))
        except Exception as error:
            if shortage := shortage_of(error):
                self._tell(shortage)
            else:
                log.exception("the store could not be followed")
        else:
            if self._told:
                log.info("the store is back")
            self._told = ""
        self.on_look()

    def _tell(self, reason: str) -> None:
        """Once until it changes: there may be ten looks a second."""
        if reason != self._told:
            log.warning("the store is away; what is loaded serves on", reason=reason)
        self._told = reason

    async def _try_again(self) -> None:
        """Whether the store is watched or not: an archive may wait."""
        while True:
            await self.sleep(AGAIN_SECONDS)
            if self.sync.has_to_try_again:
                self.wake()

    async def _watch(self) -> None:
        async for _ in self.changes():
            self._is_due.set()
