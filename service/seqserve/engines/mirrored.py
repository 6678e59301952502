"""One engine that answers, and a second one that gets the same models for users of its own."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from seqserve.archive import Archive
from seqserve.engines.base import Engine, FloatArray, LoadedModel
from seqserve.errors import SeqserveError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class MirroredModel:
    """Runs in the answering engine, and is loaded in the other where that one took it."""

    answering: LoadedModel
    mirrored: LoadedModel | None

    async def infer(self, batch: FloatArray) -> FloatArray:
        """See LoadedModel.infer."""
        return await self.answering.infer(batch)

    async def unload(self) -> None:
        """Unload both."""
        if self.mirrored is not None:
            await self.mirrored.unload()
        await self.answering.unload()


@dataclass(frozen=True, slots=True)
class MirroredEngine:
    """Loads every archive into both engines; a mirror that refuses one does not keep it from answering."""

    answering: Engine
    mirror: Engine

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
        answering = await self.answering.load(archive)
        return MirroredModel(answering, await self._load_mirror(archive))

    async def set_default(self, name: str, version: str) -> None:
        """Tell both."""
        await self.answering.set_default(name, version)
        await self.mirror.set_default(name, version)

    async def aclose(self) -> None:
        """Close both."""
        await self.mirror.aclose()
        await self.answering.aclose()

    async def _load_mirror(self, archive: Archive) -> LoadedModel | None:
        try:
            return await self.mirror.load(archive)
        except SeqserveError as error:
            log.error(
                "model not mirrored", model=archive.name, version=archive.version,
                engine=self.mirror.name, reason=str(error),
            )  # fmt: skip
            return None
