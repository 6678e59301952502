"""Which models and versions there are, and whether each may serve.

A version is READY only after its loaded copy agrees with the archive's golden rows on the device
that will serve it. A broken archive never stops the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import structlog

from seqserve.archive import Archive, read_archive
from seqserve.batching import Batcher
from seqserve.engines.base import Engine, FloatArray, LoadedModel
from seqserve.errors import (
    ArchiveInvalid,
    EngineUnavailable,
    ModelNotFound,
    ModelNotReady,
    NotFound,
    SeqserveError,
    VersionNotFound,
)
from seqserve.golden import check_golden
from seqserve.lease import Lease, hold
from seqserve.signature import Signature

log = structlog.get_logger()

UNKNOWN = "unknown"


class ModelState(Enum):
    """Where a version stands."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


RowBatcher = Batcher[FloatArray, FloatArray]
MakeBatcher = Callable[[Signature, LoadedModel], RowBatcher]


@dataclass(slots=True)
class ModelVersion:
    """One version of one model.

    signature, archive_sha256: empty where the archive cannot be read.
    reason: the stable reason of a FAILED version; the words are in the log.
    lease: keeps the archive from being pruned, for as long as the version is loaded.
    """

    name: str
    version: str
    signature: Signature | None = None
    archive_sha256: str = ""
    state: ModelState = ModelState.LOADING
    reason: str = ""
    model: LoadedModel | None = None
    ready: ReadyVersion | None = None
    lease: Lease | None = None

    def end_lease(self) -> None:
        """The archive may go, as far as this version is concerned."""
        if self.lease is not None:
            self.lease.close()


@dataclass(frozen=True, slots=True)
class ReadyVersion:
    """What a request is bound to at admission: everything here belongs to one version."""

    name: str
    version: str
    signature: Signature
    batcher: RowBatcher
    engine: str
    device: str
    archive_sha256: str


@dataclass(slots=True)
class Repository:
    """The models of one store, loaded into one engine.

    listeners are awaited with every change of a version's state.
    """

    make_batcher: MakeBatcher
    listeners: list[Callable[[ModelVersion], Awaitable[None]]] = field(default_factory=list)
    is_initially_loaded: bool = False
    is_draining: bool = False
    _versions: dict[str, dict[str, ModelVersion]] = field(default_factory=dict)
    _is_missing_lock_told: bool = False

    async def load_all(self, archives: Sequence[Path], engine: Engine) -> None:
        """Load each archive, one after the other; failures are kept as FAILED versions."""
        for path in archives:
            await self._load(path, engine)
        self.is_initially_loaded = True

    def resolve(self, name: str, version: str) -> ReadyVersion:
        """The version that answers; "" is the highest READY one.

        Raises ModelNotFound, VersionNotFound, ModelNotReady.
        """
        found = self._find(name, version)
        if found.ready is None:
            raise ModelNotReady(f"model {name!r} version {found.version!r} is not ready: {found.state.value}")
        return found.ready

    def labels(self, name: str, version: str) -> tuple[str, str]:
        """Name and version as metric labels: `unknown` for what is not in the repository."""
        try:
            found = self._find(name, version)
        except NotFound:
            return (name if name in self._versions else UNKNOWN), UNKNOWN
        return found.name, found.version

    def is_ready(self, name: str, version: str) -> bool:
        """Whether `resolve` answers, and will go on to: a drain has not begun."""
        if self.is_draining:
            return False
        try:
            self.resolve(name, version)
        except SeqserveError:
            return False
        return True

    def are_all_ready(self) -> bool:
        """The initial load is over and found models, each has a READY version, and no drain has begun."""
        return (
            self.is_initially_loaded
            and bool(self._versions)
            and all(self.is_ready(name, "") for name in self._versions)
        )

    def versions(self) -> list[ModelVersion]:
        """Every version of every model, sorted by name and number."""
        return [
            self._versions[name][version]
            for name in sorted(self._versions)
            for version in sorted(self._versions[name], key=_number)
        ]

    async def lose_engine(self, error: EngineUnavailable) -> None:
        """What ran the models is gone: answer who waits with the error, and be not ready."""
        for entry in self.versions():
            if entry.ready is not None:
                entry.ready.batcher.abort(error)
                entry.model = None  # it went with the engine
                await self._fail(entry, error.reason)

    async def aclose(self) -> None:
        """Finish what is queued, then unload. New submissions raise ShuttingDown."""
        await asyncio.gather(
            *(version.ready.batcher.aclose() for version in self.versions() if version.ready)
        )
        for version in self.versions():
            if version.model is not None:
                await version.model.unload()
            version.end_lease()

    def _find(self, name: str, version: str) -> ModelVersion:
        versions = self._versions.get(name)
        if not versions:
            raise ModelNotFound(name)
        if version:
            if version not in versions:
                raise VersionNotFound(name, version, available=", ".join(sorted(versions, key=_number)))
            return versions[version]
        ready = [number for number, found in versions.items() if found.state is ModelState.READY]
        return versions[max(ready or versions, key=_number)]

    async def _load(self, path: Path, engine: Engine) -> None:
        lease = await self._hold(path)
        entry = ModelVersion(*_claimed_by(path), lease=lease)
        try:
            archive = await asyncio.to_thread(read_archive, path)
            entry = ModelVersion(
                archive.name, archive.version, archive.signature, archive.sha256, lease=lease
            )
            self._refuse_twin(entry)
            await self._add(entry)
            await self._bring_up(entry, archive, engine)
        except SeqserveError as error:
            log.error("model refused", archive=path.name, reason=str(error), hint=getattr(error, "hint", ""))
            await self._fail(entry, error.reason)
        except Exception:
            log.exception("model refused", archive=path.name)
            await self._fail(entry, "INTERNAL")

    async def _hold(self, path: Path) -> Lease:
        """A lease where there can be one; an archive that cannot be locked is served all the same."""
        lease = await asyncio.to_thread(hold, path)
        if lease.fault and not self._is_missing_lock_told:
            self._is_missing_lock_told = True  # it is the same for every archive of the store
            log.warning("served without a lock: prune cannot see it", archive=path.name, reason=lease.fault)
        return lease

    def _refuse_twin(self, entry: ModelVersion) -> None:
        if entry.version in self._versions.get(entry.name, {}):
            raise ArchiveInvalid(f"version {entry.version} of {entry.name} is there already")

    async def _bring_up(self, entry: ModelVersion, archive: Archive, engine: Engine) -> None:
        entry.model = model = await engine.load(archive)
        delta = await check_golden(archive, model, engine.device)
        batcher = self.make_batcher(archive.signature, model)
        entry.ready = ReadyVersion(
            entry.name, entry.version, archive.signature, batcher, engine.name, engine.device, archive.sha256
        )
        entry.state = ModelState.READY
        await self._add(entry)
        log.info(
            "model ready", model=entry.name, version=entry.version, engine=engine.name,
            device=engine.device, golden_delta=delta, sha256=archive.sha256,
        )  # fmt: skip

    async def _fail(self, entry: ModelVersion, reason: str) -> None:
        """Keep a version as FAILED, so that clients and operators see it; one that is there stays."""
        entry.end_lease()
        if self._versions.get(entry.name, {}).get(entry.version, entry) is not entry:
            return
        entry.state, entry.reason, entry.ready = ModelState.FAILED, reason, None
        if entry.model is not None:
            await entry.model.unload()
            entry.model = None
        await self._add(entry)

    async def _add(self, entry: ModelVersion) -> None:
        self._versions.setdefault(entry.name, {})[entry.version] = entry
        for listener in self.listeners:
            await listener(entry)


def _claimed_by(path: Path) -> tuple[str, str]:
    """Name and version as the file's name claims them, for archives that cannot be read."""
    name, _, version = path.stem.rpartition("-")
    return (name, version) if name and version.isdecimal() else (path.stem, "0")


def _number(version: str) -> tuple[int, str]:
    return (int(version), version) if version.isdecimal() else (0, version)
