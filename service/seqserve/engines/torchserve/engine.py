"""Runs models in a TorchServe of our own."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from seqserve.archive import Archive
from seqserve.engines.base import EngineObserver, Presence
from seqserve.engines.torchserve.endpoint import TorchServeEndpoint
from seqserve.engines.torchserve.management import Management
from seqserve.engines.torchserve.model import TorchServeModel
from seqserve.engines.torchserve.predictions import Predictions
from seqserve.engines.torchserve.registration import Registration
from seqserve.engines.torchserve.watch import Watch
from seqserve.errors import EngineUnavailable, SeqserveError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ManagedOptions:
    """How models are kept in a TorchServe of our own.

    workers: of each version. response_seconds: a worker that takes longer for a batch is started again.
    token_seconds: how long the server's tokens live.
    """

    workers: int = 1
    response_seconds: int = 32
    token_seconds: float = 3600.0


class TorchServeEngine:
    """Loads archives into one TorchServe, which it neither starts nor stops.

    watch: is to be run beside it, and to be told when the server ends and when it is up again.
    management: what it speaks to the server over.
    """

    name = "torchserve"
    can_be_away = True
    runs_verified_archives = True

    def __init__(
        self,
        endpoint: TorchServeEndpoint,
        presence: Presence,
        *,
        management: Management | None = None,
        observer: EngineObserver | None = None,
        options: ManagedOptions | None = None,
    ) -> None:
        options = options or ManagedOptions()
        self.management = management or Management(endpoint)
        self._registration = Registration(
            endpoint, self.management, workers=options.workers, response_seconds=options.response_seconds
        )
        self.watch = Watch(
            endpoint.tokens,
            self.management,
            self._registration,
            presence=presence,
            observer=observer or EngineObserver(),
            token_seconds=options.token_seconds,
        )
        self._predictions = Predictions(endpoint.tokens)
        self._predictions.connect(endpoint.grpc_target)
        self._device = "cpu"

    @property
    def device(self) -> str:
        """`cpu`, or `cuda` once a worker was given a GPU."""
        return self._device

    async def load(self, archive: Archive) -> TorchServeModel:
        """Copy the verified bytes into the model store and register them.

        Raises ArchiveInvalid, EngineUnavailable.
        """
        if not self.watch.is_up:
            raise EngineUnavailable("TorchServe is being started again")
        signature = archive.signature
        await self._registration.add(archive)
        try:
            self._device = "cuda" if await self._registration.has_gpu(signature) else self._device
        except BaseException:
            await self._registration.remove(signature)
            raise
        return TorchServeModel(
            signature,
            self._predictions,
            workers=self._registration.workers,
            on_away=self.watch.note_away,
            on_unload=self._registration.remove,
        )

    async def set_default(self, name: str, version: str) -> None:
        """See Engine.set_default; until it is called the highest version is the default."""
        try:
            await self._registration.set_default(name, version)
        except SeqserveError as error:  # the watch will see to it
            log.warning("default not set", model=name, version=version, reason=str(error))

    async def aclose(self) -> None:
        """Disconnect. The server runs on."""
        await self._predictions.aclose()
        await self.management.aclose()
