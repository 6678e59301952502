"""Runs models in a TorchServe of our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from seqserve.archive import Archive
from seqserve.engines.base import EngineObserver, Presence
from seqserve.engines.timing import Time
from seqserve.engines.torchserve.endpoint import TorchServeEndpoint
from seqserve.engines.torchserve.management import Management
from seqserve.engines.torchserve.model import TorchServeModel
from seqserve.engines.torchserve.predictions import Predictions
from seqserve.engines.torchserve.registration import Key, Registration
from seqserve.engines.torchserve.renewal import Renewal
from seqserve.engines.torchserve.watch import Watch
from seqserve.errors import EngineUnavailable
from seqserve.signature import Signature

CALL_SLACK_SECONDS = 5.0
"""TorchServe gives up on a worker before a call to it is given up."""


@dataclass(frozen=True, slots=True)
class ManagedOptions:
    """How models are kept in a TorchServe of our own.

    workers: of each version. response_seconds: a worker that takes longer for a batch is started again;
    own_response_seconds: the same of models by name, where it differs.
    token_seconds: how long the server's tokens live. healed_at_once: see Watch.
    """

    workers: int = 1
    response_seconds: int = 32
    own_response_seconds: Mapping[str, int] = field(default_factory=dict)
    token_seconds: float = 3600.0
    healed_at_once: int = 2

    @property
    def longest_response_seconds(self) -> int:
        """Of all models."""
        return max([self.response_seconds, *self.own_response_seconds.values()])

    def response_seconds_of(self, name: str) -> int:
        """Of one model."""
        return self.own_response_seconds.get(name, self.response_seconds)


class TorchServeEngine:
    """Loads archives into one TorchServe, which it neither starts nor stops.

    watch: is to be run beside it, and to be told when the server ends and when it is up again.
    renewal: is to be run beside it too.
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
        time: Time | None = None,
    ) -> None:
        options = options or ManagedOptions()
        self.management = management or Management(endpoint)
        self._registration = Registration(
            endpoint,
            self.management,
            workers=options.workers,
            response_seconds_of=options.response_seconds_of,
        )
        self._predictions = Predictions(
            endpoint.tokens, call_seconds=options.longest_response_seconds + CALL_SLACK_SECONDS, time=time
        )
        self._predictions.connect(endpoint.grpc_target)
        self.watch = Watch(
            endpoint.tokens,
            self.management,
            self._registration,
            presence=presence,
            observer=observer or EngineObserver(),
            ping=self._predictions.ping,
            on_gone=self._give_up,
            healed_at_once=options.healed_at_once,
            time=time,
        )
        self.renewal = Renewal(
            endpoint.tokens,
            self.management,
            token_seconds=options.token_seconds,
            is_up=lambda: self.watch.is_up,
            time=time,
        )
        self._models: dict[Key, TorchServeModel] = {}
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
        self.watch.note_loaded(signature)
        try:
            self._device = "cuda" if await self._registration.has_gpu(signature) else self._device
        except BaseException:
            await self._registration.remove(signature)
            raise
        key = signature.name, signature.version
        model = self._models[key] = TorchServeModel(
            signature,
            self._predictions,
            workers=self._registration.workers,
            on_away=self.watch.note_away,
            on_slow=self.watch.note_slow,
            on_unload=self._unload,
        )
        return model

    async def set_default(self, name: str, version: str) -> None:
        """See Engine.set_default; until it is called the highest version is the default."""
        await self._registration.set_default(name, version)

    async def _unload(self, signature: Signature) -> None:
        self._models.pop((signature.name, signature.version), None)
        await self._registration.remove(signature)

    def _give_up(self, signature: Signature) -> None:
        model = self._models.get((signature.name, signature.version))
        if model is not None:
            model.give_up()

    async def aclose(self) -> None:
        """Disconnect. The server runs on."""
        await self._predictions.aclose()
        await self.management.aclose()
