"""Brings one version up: read, load, warm up, check against the golden rows; and takes it down again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from seqserve.archive import Archive, read_archive
from seqserve.batching.observers import Observers, VersionObserver
from seqserve.engines.base import Engine, LoadedModel
from seqserve.errors import (
    ArchiveInvalid,
    EngineUnavailable,
    Overloaded,
    ResourceShortage,
    SeqserveError,
    ShuttingDown,
)
from seqserve.golden import Golden
from seqserve.lease import Lease, hold
from seqserve.repository.batch_watch import BatchWatch
from seqserve.repository.table import Repository
from seqserve.repository.versions import MakeBatcher, ModelState, ModelVersion, ReadyVersion, RowBatcher
from seqserve.shortage import shortage_of
from seqserve.trust import Trust

log = structlog.get_logger()

SLACK_SECONDS = 1.0
WAITING = {
    EngineUnavailable.reason: "model waits for its engine",
    ResourceShortage.reason: "model waits for files or threads",
}
"""Reasons of versions that are tried again as they are, and what the log says of each."""
QUEUE_LOOK_SECONDS = 0.01
"""How often the queue of a version that leaves is looked at."""


class LoadObserver:
    """Hears how loading went, for metrics; this one does nothing."""

    def note_reload(self, model: str, result: str) -> None:
        """A version was `loaded`, `refused` or `unloaded`."""

    def note_golden_check(self, model: str, version: str, *, delta: float | None) -> None:
        """The largest |Δ| of a check that passed, None of one that did not."""


@dataclass(slots=True)
class Loading:
    """Loads archives into one engine and enters them into the repository.

    observer_of: hears of one version's requests, by name and version. trust: what is asked of archives.
    """

    repository: Repository
    engine: Engine
    make_batcher: MakeBatcher
    observer_of: Callable[[str, str], VersionObserver]
    observer: LoadObserver
    trust: Trust
    _is_missing_lock_told: bool = False
    _awaited: dict[tuple[str, str], str] = field(default_factory=dict)
    _doubted: set[str] = field(default_factory=set)

    async def load(self, name: str, version: str, path: Path) -> ModelVersion:
        """The entry of an archive, READY or FAILED; nothing is raised, and no other version is touched.

        name, version: as the file's name claims them, for archives that cannot be read.
        """
        entry = ModelVersion(name, version, path)
        try:
            entry.lease = await self._hold(path)
            await self.repository.put(entry)
            archive = await asyncio.to_thread(read_archive, path, self.trust)
            self._tell_doubt(entry, archive)
            entry.signature, entry.archive_sha256 = archive.signature, archive.sha256
            await self._bring_up(entry, archive)
        except Exception as error:  # noqa: BLE001 - it is told, and nothing is raised
            await self._judge(entry, path, error)
        except asyncio.CancelledError:
            await entry.release()
            await self.repository.remove(entry)
            raise
        return entry

    async def withdraw(self, entry: ModelVersion) -> None:
        """Bind no request to a version any more; `finish` is to follow."""
        is_stalled, entry.state = entry.state is ModelState.STALLED, ModelState.UNLOADING
        await self.repository.put(entry)
        if entry.ready is not None and is_stalled:  # its engine may never come back
            entry.ready.batcher.abort(ShuttingDown("the model was unloaded"))

    async def finish(self, entry: ModelVersion) -> None:
        """Answer who is bound to a withdrawn version, then give back what it holds."""
        if entry.ready is not None:
            await entry.ready.idle()
            await _empty(entry.ready.batcher)
            await _close(entry.ready)
        await entry.release()
        entry.state = ModelState.UNLOADED
        self.observer.note_reload(entry.name, "unloaded")
        log.info("model unloaded", model=entry.name, version=entry.version)

    async def _bring_up(self, entry: ModelVersion, archive: Archive) -> None:
        entry.model = model = await self.engine.load(archive)
        golden = Golden.of(archive)
        delta = await self._ask_golden(entry, golden, model)
        entry.golden = golden if self.engine.can_be_away else None
        watch = BatchWatch(self.repository, entry)
        observer = Observers([self.observer_of(entry.name, entry.version), watch])
        entry.ready = ReadyVersion(
            entry.name, entry.version, archive.signature,
            self.make_batcher(archive.signature, model, observer),
            self.engine.name, self.engine.device,
            archive.sha256 if self.engine.runs_verified_archives else "", observer,
        )  # fmt: skip
        self._awaited.pop((entry.name, entry.version), None)
        entry.state = ModelState.READY
        await self.repository.put(entry)
        self.observer.note_reload(entry.name, "loaded")
        log.info(
            "model ready", model=entry.name, version=entry.version, engine=self.engine.name,
            device=self.engine.device, golden_delta=delta, sha256=archive.sha256,
            attested_by=list(archive.attested_by),
        )  # fmt: skip

    def _tell_doubt(self, entry: ModelVersion, archive: Archive) -> None:
        if archive.doubt and archive.sha256 not in self._doubted:  # one that waits is read many times
            self._doubted.add(archive.sha256)
            log.warning("archive without a trusted attestation", archive=entry.path and entry.path.name,
                        reason=archive.doubt)  # fmt: skip

    async def _ask_golden(self, entry: ModelVersion, golden: Golden, model: LoadedModel) -> float:
        """Check, where the fault may lie with an engine that others look after, as with one that is away."""
        try:
            return await self._check_golden(entry, golden, model)
        except Overloaded as error:
            raise EngineUnavailable("the engine has no room for the golden rows") from error
        except ArchiveInvalid as error:
            if self.engine.runs_verified_archives:
                raise
            raise EngineUnavailable(f"the engine does not answer as the archive says: {error}") from error

    async def _check_golden(self, entry: ModelVersion, golden: Golden, model: LoadedModel) -> float:
        try:
            delta = await golden.check(model, self.engine.device)
        except ArchiveInvalid:
            self.observer.note_golden_check(entry.name, entry.version, delta=None)
            raise
        self.observer.note_golden_check(entry.name, entry.version, delta=delta)
        return delta

    async def _judge(self, entry: ModelVersion, path: Path, error: Exception) -> None:
        """Whether it is the archive's fault that it was not loaded, and what is said of it."""
        if shortage := shortage_of(error):
            error = ResourceShortage(f"the gateway itself met: {shortage}")
        if isinstance(error, EngineUnavailable | ResourceShortage):
            await self._wait(entry, error)
        elif isinstance(error, SeqserveError):
            log.error("model refused", archive=path.name, reason=str(error), hint=getattr(error, "hint", ""))
            await self._fail(entry, error.reason)
        else:
            log.error("model refused", archive=path.name, exc_info=error)
            await self._fail(entry, "INTERNAL")

    async def _wait(self, entry: ModelVersion, error: EngineUnavailable | ResourceShortage) -> None:
        """Keep a version that may be tried again as it is; a reason is said once, and again after another."""
        if self._awaited.get((entry.name, entry.version)) != error.reason:
            self._awaited[entry.name, entry.version] = error.reason
            log.warning(WAITING[error.reason], model=entry.name, version=entry.version, reason=str(error))
        await self._show_failed(entry, error.reason)

    async def _show_failed(self, entry: ModelVersion, reason: str) -> None:
        """Keep a version as FAILED, so that clients and operators see it."""
        entry.state, entry.reason = ModelState.FAILED, reason
        await entry.release()
        await self.repository.put(entry)

    async def _fail(self, entry: ModelVersion, reason: str) -> None:
        self._awaited.pop((entry.name, entry.version), None)
        await self._show_failed(entry, reason)
        self.observer.note_reload(entry.name, "refused")

    async def _hold(self, path: Path) -> Lease:
        """A lease where there can be one; an archive that cannot be locked is served all the same.

        Raises OSError where no file is left, RuntimeError where no thread is.
        """
        lease = await asyncio.to_thread(hold, path)
        if lease.fault and not self._is_missing_lock_told:
            self._is_missing_lock_told = True  # it is the same for every archive of the store
            log.warning("served without a lock: prune cannot see it", archive=path.name, reason=lease.fault)
        return lease


async def _empty(batcher: RowBatcher) -> None:
    """Return when nobody waits for a batch any more, be it a caller that Python does not know of.

    It takes as long as the queue does. It ends: a batch that hangs turns away who waits behind it, and each
    caller's deadline passes.
    """
    while batcher.queued_examples:  # noqa: ASYNC110 - a queue in C++ sets no event
        await asyncio.sleep(QUEUE_LOOK_SECONDS)


async def _close(ready: ReadyVersion) -> None:
    """End a batcher that nobody waits in; there may be a last batch in flight.

    It is given the time after which it counts as hanging, and then left to itself.
    """
    try:
        async with asyncio.timeout(ready.batcher.max_batch_seconds + SLACK_SECONDS):
            await ready.batcher.aclose()
    except TimeoutError:
        log.error("the engine does not come back", model=ready.name, version=ready.version)
