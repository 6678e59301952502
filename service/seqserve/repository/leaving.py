"""Versions on their way out: they wait for their callers and their engine, and keep nobody else waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from seqserve.repository.loading import Loading
from seqserve.repository.versions import ModelVersion

log = structlog.get_logger()


@dataclass(slots=True)
class Leaving:
    """Lets versions go in tasks of their own. on_left: awaited with each that has left."""

    loading: Loading
    on_left: Callable[[ModelVersion], Awaitable[None]]
    _tasks: dict[str, set[asyncio.Task[None]]] = field(default_factory=dict)

    async def let_go(self, entry: ModelVersion) -> None:
        """No request is bound to it after this; the rest follows by itself."""
        await self.loading.withdraw(entry)
        tasks = self._tasks.setdefault(entry.name, set())
        task = asyncio.create_task(self._leave(entry))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def have_left(self, name: str) -> None:
        """Return when every version of a model that was to go has gone."""
        if tasks := self._tasks.get(name):
            await asyncio.wait(tasks)

    async def have_all_left(self) -> None:
        """Return when every version that was to go has gone."""
        for name in list(self._tasks):
            await self.have_left(name)

    async def aclose(self) -> None:
        """Wait for nobody any more."""
        tasks = [task for tasks in self._tasks.values() for task in tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _leave(self, entry: ModelVersion) -> None:
        try:
            await self.loading.finish(entry)
        except Exception:
            log.exception("model not unloaded in order", model=entry.name, version=entry.version)
        await self.on_left(entry)
