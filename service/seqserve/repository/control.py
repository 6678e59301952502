"""Loading and unloading as an administrator asks for it over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field

from seqserve.errors import ModelNotReady, ShuttingDown
from seqserve.repository.table import ModelControl


@dataclass(slots=True)
class AdminControl(ModelControl):
    """Passes on to `target`, once the start is over and there is one.

    What was begun is finished, whether or not the caller stays to hear of it.
    """

    target: ModelControl | None = None
    _begun: set[asyncio.Task[None]] = field(default_factory=set)

    async def load(self, name: str) -> None:
        """See ModelControl.load; raises ModelNotReady during the start."""
        await self._finish(self._ready().load(name))

    async def unload(self, name: str) -> None:
        """See ModelControl.unload; raises ModelNotReady during the start."""
        await self._finish(self._ready().unload(name))

    async def aclose(self) -> None:
        """Give up what was begun, and take nothing new."""
        self.target = None
        for task in self._begun:
            task.cancel()
        await asyncio.gather(*self._begun, return_exceptions=True)

    def _ready(self) -> ModelControl:
        if self.target is None:
            raise ModelNotReady("the gateway is starting or shutting down")
        return self.target

    async def _finish(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # by `aclose`, and not by a caller who left
                raise ShuttingDown("the gateway shut down before that was done") from None
            raise
