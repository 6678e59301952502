"""One engine that answers, and a second one that gets the same models for users of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from seqserve.archive import Archive
from seqserve.engines.base import Engine, FloatArray, LoadedModel
from seqserve.errors import EngineUnavailable, SeqserveError

log = structlog.get_logger()

AGAIN_SECONDS = 2.0

Pause = Callable[[], Awaitable[None]]


async def _pause() -> None:
    await asyncio.sleep(AGAIN_SECONDS)


class MirroredModel:
    """Runs in the answering engine, and is loaded in the other where that one takes it."""

    def __init__(self, answering: LoadedModel, mirror: Engine, archive: Archive) -> None:
        self._answering = answering
        self._mirror = mirror
        self._archive = archive
        self._mirrored: LoadedModel | None = None
        self._trying: asyncio.Task[None] | None = None

    async def reflect(self, pause: Pause) -> None:
        """Load it in the mirror; where that is away, go on trying until it is not, with a pause between."""
        if not await self._try():
            self._trying = asyncio.create_task(self._keep_trying(pause))

    async def infer(self, batch: FloatArray) -> FloatArray:
        """See LoadedModel.infer."""
        return await self._answering.infer(batch)

    async def unload(self) -> None:
        """Unload both."""
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.gather(self._trying, return_exceptions=True)
        if self._mirrored is not None:
            await self._mirrored.unload()
        await self._answering.unload()

    async def _keep_trying(self, pause: Pause) -> None:
        while True:
            await pause()
            if await self._try():
                return

    async def _try(self) -> bool:
        """Whether there is no more to be done: the mirror has taken it, or has refused it for good."""
        try:
            self._mirrored = await self._mirror.load(self._archive)
        except SeqserveError as error:
            is_away = isinstance(error, EngineUnavailable)
            if self._trying is None or not is_away:  # it is said once that it is away
                log.error(
                    "model not mirrored", model=self._archive.name, version=self._archive.version,
                    engine=self._mirror.name, reason=str(error), is_tried_again=is_away,
                )  # fmt: skip
            return not is_away
        if self._trying is not None:
            log.info("model mirrored", model=self._archive.name, version=self._archive.version)
        return True


@dataclass(frozen=True, slots=True)
class MirroredEngine:
    """Loads every archive into both engines; a mirror that refuses one does not keep it from answering."""

    answering: Engine
    mirror: Engine
    pause: Pause = _pause

    @property
    def name(self) -> str:
        """The answering engine's."""
        return self.answering.name

    @property
    def can_be_away(self) -> bool:
        """The answering engine's; the mirror looks after itself."""
        return self.answering.can_be_away

    @property
    def runs_verified_archives(self) -> bool:
        """The answering engine's."""
        return self.answering.runs_verified_archives

    @property
    def device(self) -> str:
        """The answering engine's."""
        return self.answering.device

    async def load(self, archive: Archive) -> MirroredModel:
        """See Engine.load."""
        model = MirroredModel(await self.answering.load(archive), self.mirror, archive)
        await model.reflect(self.pause)
        return model

    async def set_default(self, name: str, version: str) -> None:
        """Tell both."""
        await self.answering.set_default(name, version)
        await self.mirror.set_default(name, version)

    async def aclose(self) -> None:
        """Close both."""
        await self.mirror.aclose()
        await self.answering.aclose()
