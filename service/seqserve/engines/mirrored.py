"""One engine that answers, and a second one that gets the same models for users of its own."""

from __future__ import annotations

from dataclasses import dataclass

from seqserve.archive import Archive
from seqserve.engines.base import Engine, FloatArray, LoadedModel
from seqserve.errors import SeqserveError


@dataclass(frozen=True, slots=True)
class MirroredModel:
    """Runs in the answering engine, and is loaded in the other."""

    answering: LoadedModel
    mirrored: LoadedModel

    async def infer(self, batch: FloatArray) -> FloatArray:
        """See LoadedModel.infer."""
        return await self.answering.infer(batch)

    async def unload(self) -> None:
        """Unload both."""
        await self.mirrored.unload()
        await self.answering.unload()


@dataclass(frozen=True, slots=True)
class MirroredEngine:
    """Loads every archive into both engines, or into neither."""

    answering: Engine
    mirror: Engine

    @property
    def name(self) -> str:
        """The answering engine's."""
        return self.answering.name

    @property
    def device(self) -> str:
        """The answering engine's."""
        return self.answering.device

    async def load(self, archive: Archive) -> MirroredModel:
        """See Engine.load."""
        answering = await self.answering.load(archive)
        try:
            return MirroredModel(answering, await self.mirror.load(archive))
        except SeqserveError:
            await answering.unload()
            raise

    async def aclose(self) -> None:
        """Close both."""
        await self.mirror.aclose()
        await self.answering.aclose()
