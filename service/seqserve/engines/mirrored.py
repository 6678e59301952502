"""One engine that answers, and a second one that gets the same models for users of its own."""

from __future__ import annotations

import asyncio

import structlog

from seqserve.archive import Archive
from seqserve.engines.base import Engine, FloatArray, LoadedModel
from seqserve.engines.timing import Time
from seqserve.errors import EngineUnavailable, SeqserveError
from seqserve.shortage import shortage_of

log = structlog.get_logger()

AGAIN_SECONDS = 2.0
MODEL_SECONDS = 20.0
"""The mirror is waited for so long, that whoever is told of a model meets it in both engines."""
DEFAULT_SECONDS = 1.0
"""The same of its default version."""


class MirroredModel:
    """Runs in the answering engine, and is loaded in the other where that one takes it."""

    def __init__(self, answering: LoadedModel, mirror: Engine, archive: Archive, time: Time) -> None:
        self._answering = answering
        self._mirror = mirror
        self._archive = archive
        self._time = time
        self._mirrored: LoadedModel | None = None
        self._is_told = False
        self._is_tried = asyncio.Event()
        self._loading = asyncio.create_task(self._load())

    async def tried(self) -> None:
        """Return when the mirror has tried once, or after a while; where it has not taken it, it goes on."""
        waiting = asyncio.create_task(self._first_try())
        try:
            await self._time.wait([waiting], MODEL_SECONDS)
        finally:
            waiting.cancel()

    async def infer(self, batch: FloatArray) -> FloatArray:
        """See LoadedModel.infer."""
        return await self._answering.infer(batch)

    async def unload(self) -> None:
        """Unload both; a load that the mirror is just at is given up, and the mirror clears up after it."""
        self._loading.cancel()
        try:
            await self._answering.unload()
        finally:
            await asyncio.wait([self._loading])
            if self._mirrored is not None:
                await self._mirrored.unload()

    async def _first_try(self) -> None:
        await self._is_tried.wait()

    async def _load(self) -> None:
        """Load it in the mirror; where that is away, go on trying until it is not."""
        while not await self._try():
            self._is_tried.set()
            await self._time.sleep(AGAIN_SECONDS)
        self._is_tried.set()

    async def _try(self) -> bool:
        """Whether there is no more to be done: the mirror has taken it, or has refused it for good."""
        try:
            self._mirrored = await self._mirror.load(self._archive)
        except Exception as error:  # noqa: BLE001 - it is told, and keeps nobody from being answered
            is_tried_again = isinstance(error, EngineUnavailable) or bool(shortage_of(error))
            if not self._is_told or not is_tried_again:  # it is said once that it is away
                self._report(error, is_tried_again=is_tried_again)
            self._is_told = True
            return not is_tried_again
        if self._is_told:
            log.info("model mirrored", model=self._archive.name, version=self._archive.version)
        return True

    def _report(self, error: Exception, *, is_tried_again: bool) -> None:
        log.error(
            "model not mirrored", model=self._archive.name, version=self._archive.version,
            engine=self._mirror.name, reason=str(error), is_tried_again=is_tried_again,
            exc_info=None if isinstance(error, SeqserveError) else error,
        )  # fmt: skip


class MirroredEngine:
    """Loads every archive into both engines; a mirror that refuses one does not keep it from answering.

    Nor does one that hangs: it is waited for a while, and follows later.
    """

    def __init__(self, answering: Engine, mirror: Engine, *, time: Time | None = None) -> None:
        self.answering = answering
        self.mirror = mirror
        self._time = time or Time()
        self._wishes: dict[str, str] = {}
        self._telling: asyncio.Task[None] | None = None

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
        model = MirroredModel(await self.answering.load(archive), self.mirror, archive, self._time)
        try:
            await model.tried()
        except BaseException:
            await model.unload()
            raise
        return model

    async def set_default(self, name: str, version: str) -> None:
        """Tell both; the mirror hears the latest wish as soon as it listens."""
        await self.answering.set_default(name, version)
        self._wishes[name] = version
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())
        await self._time.wait([self._telling], DEFAULT_SECONDS)

    async def aclose(self) -> None:
        """Close both."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait([self._telling])
        await self.mirror.aclose()
        await self.answering.aclose()

    async def _tell(self) -> None:
        """Tell the mirror what is wished, model by model; a newer wish takes an older one's place."""
        while self._wishes:
            name = next(iter(self._wishes))
            version = self._wishes.pop(name)
            try:
                await self.mirror.set_default(name, version)
            except Exception:
                log.exception("default not mirrored", model=name, version=version)
