"""Versions whose engine is away for a while: out of service, and back once they answer as they should."""

from __future__ import annotations

import asyncio

import structlog

from seqserve.errors import EngineUnavailable, SeqserveError
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelVersion

log = structlog.get_logger()

REASON = EngineUnavailable.reason


class Absence:
    """A Presence that keeps the repository in step with a remote engine."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._telling: set[asyncio.Task[None]] = set()
        self._told: set[tuple[str, str]] = set()
        """Who is not back yet, once that is in the log."""

    def note_away(self, name: str, version: str) -> None:
        """See Presence. Who waits is answered at once, and who comes."""
        entry = self._repository.find(name, version)
        if entry is None or entry.ready is None or entry.has_trouble(REASON):
            return
        log.error("the engine is away; the model is not ready", model=name, version=version)
        self._told.discard((name, version))
        entry.stall(REASON)
        entry.ready.batcher.pause()
        telling = asyncio.get_running_loop().create_task(self._tell(entry))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def bring_back(self, name: str, version: str) -> bool:
        """See Presence. The golden rows are asked for again: what is back may be another copy."""
        entry = self._repository.find(name, version)
        if entry is None or entry.ready is None or not entry.has_trouble(REASON):
            return True
        if not await self._answers(entry):
            return False
        ready = entry.ready
        if ready is not None:  # nobody has unloaded it meanwhile
            entry.recover(REASON)
            ready.batcher.resume()
            self._told.discard((name, version))
            log.info("the engine is back", model=name, version=version, state=entry.state.value)
            await self._tell(entry)
        return True

    async def _answers(self, entry: ModelVersion) -> bool:
        if entry.model is None or entry.golden is None or entry.ready is None:
            return False
        try:
            async with asyncio.timeout(entry.ready.batcher.max_batch_seconds):
                await entry.golden.check(entry.model, entry.ready.device)
        except (SeqserveError, TimeoutError) as error:
            self._say_not_back(entry, str(error))
            return False
        return True

    def _say_not_back(self, entry: ModelVersion, reason: str) -> None:
        """At INFO once in an absence; it is tried often."""
        key = entry.name, entry.version
        say = log.debug if key in self._told else log.info
        self._told.add(key)
        say("not back yet", model=entry.name, version=entry.version, reason=reason)

    async def _tell(self, entry: ModelVersion) -> None:
        if self._repository.find(entry.name, entry.version) is entry:
            await self._repository.put(entry)
