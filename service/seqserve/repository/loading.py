"""Brings one version up: read, load, warm up, check against the golden rows; and takes it down again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from seqserve.archive import Archive, read_archive
from seqserve.engines.base import Engine, LoadedModel
from seqserve.errors import ArchiveInvalid, SeqserveError, ShuttingDown
from seqserve.golden import check_golden
from seqserve.lease import Lease, hold
from seqserve.observers import Observers, VersionObserver
from seqserve.repository.stalling import StallWatch
from seqserve.repository.table import Repository
from seqserve.repository.versions import MakeBatcher, ModelState, ModelVersion, ReadyVersion

log = structlog.get_logger()


class LoadObserver:
    """Hears how loading went, for metrics; this one does nothing."""

    def note_reload(self, model: str, result: str) -> None:
        """A version was `loaded`, `refused` or `unloaded`."""

    def note_golden_check(self, model: str, version: str, *, delta: float | None) -> None:
        """The largest |Δ| of a check that passed, None of one that did not."""


@dataclass(slots=True)
class Loading:
    """Loads archives into one engine and enters them into the repository.

    observer_of: hears of one version's requests, by name and version.
    """

    repository: Repository
    engine: Engine
    make_batcher: MakeBatcher
    observer_of: Callable[[str, str], VersionObserver]
    observer: LoadObserver
    _is_missing_lock_told: bool = False

    async def load(self, name: str, version: str, path: Path) -> ModelVersion:
        """The entry of an archive, READY or FAILED; nothing is raised, and no other version is touched.

        name, version: as the file's name claims them, for archives that cannot be read.
        """
        lease = await self._hold(path)
        entry = ModelVersion(name, version, lease=lease)
        try:
            await self.repository.put(entry)
            archive = await asyncio.to_thread(read_archive, path)
            entry.signature, entry.archive_sha256 = archive.signature, archive.sha256
            await self._bring_up(entry, archive)
        except SeqserveError as error:
            log.error("model refused", archive=path.name, reason=str(error), hint=getattr(error, "hint", ""))
            await self._fail(entry, error.reason)
        except Exception:
            log.exception("model refused", archive=path.name)
            await self._fail(entry, "INTERNAL")
        except asyncio.CancelledError:
            await self._release(entry)
            await self.repository.remove(entry)
            raise
        return entry

    async def unload(self, entry: ModelVersion) -> None:
        """Bind no request to it any more, finish those that are, then give back what it holds."""
        ready, is_stalled = entry.ready, entry.state is ModelState.STALLED
        entry.ready, entry.state = None, ModelState.UNLOADING
        await self.repository.put(entry)
        if ready is not None and is_stalled:  # its engine may never come back
            ready.batcher.abort(ShuttingDown("the model was unloaded"))
        elif ready is not None:
            await ready.idle()
            await ready.batcher.aclose()
        await self._release(entry)
        entry.state = ModelState.UNLOADED
        self.observer.note_reload(entry.name, "unloaded")
        log.info("model unloaded", model=entry.name, version=entry.version)

    async def _bring_up(self, entry: ModelVersion, archive: Archive) -> None:
        entry.model = model = await self.engine.load(archive)
        delta = await self._check_golden(entry, archive, model)
        stalling = StallWatch(self.repository, entry)
        observer = Observers([self.observer_of(entry.name, entry.version), stalling])
        entry.ready = ReadyVersion(
            entry.name, entry.version, archive.signature,
            self.make_batcher(archive.signature, model, observer),
            self.engine.name, self.engine.device, archive.sha256, observer,
        )  # fmt: skip
        entry.state = ModelState.READY
        await self.repository.put(entry)
        self.observer.note_reload(entry.name, "loaded")
        log.info(
            "model ready", model=entry.name, version=entry.version, engine=self.engine.name,
            device=self.engine.device, golden_delta=delta, sha256=archive.sha256,
        )  # fmt: skip

    async def _check_golden(self, entry: ModelVersion, archive: Archive, model: LoadedModel) -> float:
        try:
            delta = await check_golden(archive, model, self.engine.device)
        except ArchiveInvalid:
            self.observer.note_golden_check(entry.name, entry.version, delta=None)
            raise
        self.observer.note_golden_check(entry.name, entry.version, delta=delta)
        return delta

    async def _fail(self, entry: ModelVersion, reason: str) -> None:
        """Keep a version as FAILED, so that clients and operators see it."""
        entry.state, entry.reason, entry.ready = ModelState.FAILED, reason, None
        await self._release(entry)
        await self.repository.put(entry)
        self.observer.note_reload(entry.name, "refused")

    async def _release(self, entry: ModelVersion) -> None:
        model, entry.model = entry.model, None
        if model is not None:
            await model.unload()
        entry.end_lease()

    async def _hold(self, path: Path) -> Lease:
        """A lease where there can be one; an archive that cannot be locked is served all the same."""
        lease = await asyncio.to_thread(hold, path)
        if lease.fault and not self._is_missing_lock_told:
            self._is_missing_lock_told = True  # it is the same for every archive of the store
            log.warning("served without a lock: prune cannot see it", archive=path.name, reason=lease.fault)
        return lease
