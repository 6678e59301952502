"""Runs models in TorchServes that somebody else runs, and has given the same archives."""

from __future__ import annotations

import asyncio

import structlog

from seqserve.archive import Archive
from seqserve.engines.base import Presence
from seqserve.engines.torchserve.addresses import Address, resolve
from seqserve.engines.torchserve.model import TorchServeModel
from seqserve.engines.torchserve.predictions import Predictions
from seqserve.engines.torchserve.rounds import Rounds, Time
from seqserve.errors import EngineUnavailable
from seqserve.signature import Signature

log = structlog.get_logger()

PING_SECONDS = 5.0
RESOLVE_SECONDS = 30.0


class ExternalEngine:
    """Asks servers that hold the models already; nobody here has verified what they hold.

    A version that they do not know, or answer otherwise than the archive's golden rows, does not serve
    until they do.
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
        time: Time | None = None,
    ) -> None:
        """workers: that each version has there, in all. device: where they run, `cpu` or `cuda`."""
        self.device = device
        self._predictions = predictions
        self._addresses = addresses
        self._presence = presence
        self._workers = workers
        self._versions: dict[tuple[str, str], Signature] = {}
        self._away: set[tuple[str, str]] = set()
        self._target = ""
        self._time = time or Time()
        self._resolved_at = self._time.now()
        self._is_resolved = True
        self._rounds = Rounds(self._time)

    async def load(self, archive: Archive) -> TorchServeModel:
        """What asks for the archive's version; whether they have it, its golden rows show."""
        signature = archive.signature
        if not self._target:
            await self._resolve()
        self._versions[signature.name, signature.version] = signature
        return TorchServeModel(
            signature,
            self._predictions,
            workers=self._workers,
            on_away=self._note_away,
            on_unload=self._forget,
        )

    async def set_default(self, name: str, version: str) -> None:
        """The default version there is their operator's."""

    async def run(self) -> None:
        """Look after them until this task is cancelled: whether they answer, and where they are."""
        while True:
            await self._rounds.next(is_calm=not self._away)
            try:
                await self.look()
            except Exception:
                log.exception("torchserve could not be looked at")

    async def look(self) -> None:
        """Ask once whether they answer; who is away is asked for its golden rows."""
        await self._follow_addresses()
        try:
            await self._predictions.ping(PING_SECONDS)
        except EngineUnavailable as error:
            self._note_all_away(str(error))
        else:
            await asyncio.gather(*map(self._bring_back, list(self._away)))

    async def aclose(self) -> None:
        """Disconnect."""
        await self._predictions.aclose()

    async def _follow_addresses(self) -> None:
        """Resolve them now and then; while that fails, those that are known are used."""
        if not self._away and self._time.now() - self._resolved_at <= RESOLVE_SECONDS:
            return
        try:
            await self._resolve()
        except EngineUnavailable as error:
            if self._is_resolved:  # it is said once
                log.warning("torchserve not resolved; its last addresses are used", reason=str(error))
            self._is_resolved = False

    async def _resolve(self) -> None:
        target = await resolve(self._addresses)
        self._resolved_at, self._is_resolved = self._time.now(), True
        if target != self._target:
            log.info("torchserve resolved", target=target)
            self._predictions.connect(target)
            self._target = target

    async def _bring_back(self, key: tuple[str, str]) -> None:
        if await self._presence.bring_back(*key):
            self._away.discard(key)

    async def _forget(self, signature: Signature) -> None:
        self._versions.pop((signature.name, signature.version), None)
        self._away.discard((signature.name, signature.version))

    def _note_all_away(self, reason: str) -> None:
        if self._versions.keys() - self._away:
            log.error("torchserve is away", reason=reason)
        for signature in self._versions.values():
            self._mark(signature)

    def _note_away(self, signature: Signature) -> None:
        if (signature.name, signature.version) not in self._away:
            self._rounds.call()
        self._mark(signature)

    def _mark(self, signature: Signature) -> None:
        key = signature.name, signature.version
        if key in self._versions:
            self._away.add(key)
            self._presence.note_away(*key)
