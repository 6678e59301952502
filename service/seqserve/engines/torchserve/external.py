"""Runs models in TorchServes that somebody else runs, and has given the same archives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial

import structlog

from seqserve.archive import Archive
from seqserve.engines.base import Presence
from seqserve.engines.timing import Time
from seqserve.engines.torchserve.addresses import Address, joined, resolve
from seqserve.engines.torchserve.checked_server import CheckedServer, GoldenRows, Key
from seqserve.engines.torchserve.model import TorchServeModel
from seqserve.engines.torchserve.predictions import Predictions
from seqserve.engines.torchserve.rounds import Rounds
from seqserve.errors import EngineUnavailable
from seqserve.signature import Signature

log = structlog.get_logger()

RESOLVE_SECONDS = 30.0
LOOK_SECONDS = 3.0
"""A server that takes longer goes on being looked at, while the next look goes to the others."""


@dataclass(slots=True)
class Version:
    """What batches of a version go through: the servers at `targets`, which have answered its golden rows.

    is_loaded: False until it may be noted as away.
    """

    signature: Signature
    golden: GoldenRows
    predictions: Predictions
    targets: list[str] = field(default_factory=list)
    is_loaded: bool = False


class ExternalEngine:
    """Asks servers that hold the models already; nobody here has verified what they hold.

    Each address is asked for the golden rows by itself. Batches of a version go to those that answer as its
    archive says; where there is none, it is away.
    """

    name = "torchserve"
    can_be_away = True
    runs_verified_archives = False

    def __init__(
        self,
        predictions: Predictions,
        addresses: list[Address],
        presence: Presence,
        *,
        workers: int,
        device: str,
        check_seconds: float,
        golden_of: Callable[[Archive], GoldenRows],
        time: Time | None = None,
    ) -> None:
        """workers: that each version has there, in all. device: where they run, `cpu` or `cuda`.

        check_seconds: within which a server must answer a version's golden rows. golden_of: takes them from
        its archive.
        """
        self.device = device
        self._predictions = predictions
        self._addresses = addresses
        self._presence = presence
        self._workers = workers
        self._check_seconds = check_seconds
        self._golden_of = golden_of
        self._servers: dict[str, CheckedServer] = {}
        self._versions: dict[Key, Version] = {}
        self._away: set[Key] = set()
        self._suspects: set[Key] = set()
        self._tasks: dict[object, asyncio.Task[None]] = {}
        self._time = time or Time()
        self._resolved_at = self._time.now()
        self._is_resolved = True
        self._rounds = Rounds(self._time)

    async def load(self, archive: Archive) -> TorchServeModel:
        """What asks for the archive's version. Raises EngineUnavailable where no server has the same."""
        signature = archive.signature
        if not self._servers:
            await self._resolve()
        key = signature.name, signature.version
        golden = self._golden_of(archive)
        version = self._versions[key] = Version(signature, golden, self._predictions.sibling())
        try:
            await asyncio.gather(*[server.load(signature, golden) for server in self._servers.values()])
            self._require_some(key)
        except BaseException:
            await self._forget(version)
            raise
        version.is_loaded = True
        return TorchServeModel(
            signature,
            version.predictions,
            workers=self._workers,
            on_away=self._note_fault,
            on_unload=lambda _: self._forget(version),
        )

    async def set_default(self, name: str, version: str) -> None:
        """The default version there is their operator's."""

    async def run(self) -> None:
        """Look after them until this task is cancelled: whether they answer, and where they are."""
        while True:
            await self._rounds.next(is_calm=self._is_calm())
            try:
                await self.look()
            except Exception:
                log.exception("torchserve could not be looked at")

    async def look(self) -> None:
        """Ask each once whether it answers, and for golden rows that are due; bring back who is away."""
        await self._follow_addresses()
        self._suspects.clear()
        for target, server in self._servers.items():
            self._start(target, server.look)
        await self._time.wait(list(self._tasks.values()), LOOK_SECONDS)
        self._settle()
        await self._time.wait(list(self._tasks.values()), LOOK_SECONDS)

    async def aclose(self) -> None:
        """Disconnect."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._predictions.aclose()

    async def _follow_addresses(self) -> None:
        """Resolve them now and then; while that fails, those that are known are used."""
        is_whole = not self._away and not any(server.is_away for server in self._servers.values())
        if is_whole and self._time.now() - self._resolved_at <= RESOLVE_SECONDS:
            return
        try:
            await self._resolve()
        except EngineUnavailable as error:
            if self._is_resolved:  # it is said once
                log.warning("torchserve not resolved; its last addresses are used", reason=str(error))
            self._is_resolved = False

    async def _resolve(self) -> None:
        targets = await resolve(self._addresses)
        self._resolved_at, self._is_resolved = self._time.now(), True
        if set(targets) == self._servers.keys():
            return
        log.info("torchserve resolved", addresses=targets)
        for target in self._servers.keys() - targets:
            self._servers.pop(target).disconnect()
        for target in targets:
            if target not in self._servers:
                self._servers[target] = self._served_at(target)

    def _served_at(self, target: str) -> CheckedServer:
        server = CheckedServer(
            target,
            self._predictions.sibling(),
            device=self.device,
            check_seconds=self._check_seconds,
            on_change=self._settle,
            time=self._time,
        )
        for version in self._versions.values():
            server.add(version.signature, version.golden)
        return server

    def _require_some(self, key: Key) -> None:
        if not any(server.has(key) for server in self._servers.values()):
            faults = [f"{target}: {server.fault_of(key)}" for target, server in self._servers.items()]
            raise EngineUnavailable(f"no TorchServe answers as the archive says: {'; '.join(faults)}")

    def _is_calm(self) -> bool:
        are_all_away = all(server.is_away for server in self._servers.values()) and bool(self._servers)
        return not self._away and not self._suspects and not are_all_away

    def _settle(self) -> None:
        """Have batches go to those that are good; note versions that nobody has, or somebody has again."""
        for key, version in self._versions.items():
            targets = [target for target, server in sorted(self._servers.items()) if server.has(key)]
            if targets and targets != version.targets:
                version.predictions.connect(joined(targets))
                version.targets = targets
            if targets and key in self._away:
                self._start(key, partial(self._bring_back, key))
            elif not targets and version.is_loaded and self._have_all_failed(key):
                self._mark(key)

    def _have_all_failed(self, key: Key) -> bool:
        """False while one that is new here has not been asked."""
        return all(server.fault_of(key) for server in self._servers.values())

    async def _bring_back(self, key: Key) -> None:
        if await self._presence.bring_back(*key):
            self._away.discard(key)

    def _start(self, what: object, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Do it beside the look, once at a time."""
        if what not in self._tasks:
            task = asyncio.get_running_loop().create_task(work())
            self._tasks[what] = task
            task.add_done_callback(lambda done: self._end(what, done))

    def _end(self, what: object, done: asyncio.Task[None]) -> None:
        del self._tasks[what]
        if not done.cancelled() and (error := done.exception()):
            log.error("torchserve could not be looked at", what=what, exc_info=error)

    async def _forget(self, version: Version) -> None:
        key = version.signature.name, version.signature.version
        version.predictions.disconnect()
        if self._versions.get(key) is version:
            del self._versions[key]
            self._away.discard(key)
            for server in self._servers.values():
                server.drop(key)

    def _note_fault(self, signature: Signature) -> None:
        """A batch has failed: each server is asked at once; where there is one, nobody waits for it."""
        key = signature.name, signature.version
        version = self._versions.get(key)
        if version is None:
            return
        if key not in self._away and key not in self._suspects:
            self._rounds.call()
        self._suspects.add(key)
        for server in self._servers.values():
            server.suspect(key)
        if len(version.targets) <= 1:
            self._mark(key)

    def _mark(self, key: Key) -> None:
        self._away.add(key)
        self._presence.note_away(*key)
