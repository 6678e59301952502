"""`grpc.health.v1`: overall, each gRPC service, each model and version, and `liveness`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2

from seqserve.repository import ModelVersion, Repository

SERVICE = "grpc.health.v1.Health"
LIVENESS = "liveness"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class EndingWatches(health.aio.HealthServicer):  # type: ignore[misc, name-defined]  # no stubs for aio
    """grpcio's servicer behind bytes, so that malformed protobuf is refused in our words.

    Its Watch streams end when told to: a drain must not wait for watchers.
    """

    def __init__(self) -> None:
        super().__init__()
        self._watches: set[asyncio.Task[None]] = set()

    async def Check(self, body: bytes, context: Any) -> Any:  # noqa: N802 - gRPC's name
        """The status now."""
        return await super().Check(await _parse(body, context), context)

    async def Watch(self, body: bytes, context: Any) -> None:  # noqa: N802 - gRPC's name
        """Stream the status until the caller leaves or `end_watches` is called."""
        request = await _parse(body, context)
        watch = asyncio.ensure_future(super().Watch(request, context))
        self._watches.add(watch)
        try:
            await asyncio.wait([watch])
        finally:
            self._watches.discard(watch)
            watch.cancel()

    def handler(self) -> grpc.GenericRpcHandler:  # type: ignore[type-arg]  # Any message
        """What a gRPC server registers."""
        serialize = health_pb2.HealthCheckResponse.SerializeToString
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self.Check, None, serialize),
                "Watch": grpc.unary_stream_rpc_method_handler(self.Watch, None, serialize),
            },
        )

    def end_watches(self) -> None:
        """Close every Watch stream."""
        for watch in self._watches:
            watch.cancel()


async def _parse(body: bytes, context: Any) -> health_pb2.HealthCheckRequest:
    try:
        return health_pb2.HealthCheckRequest.FromString(body)
    except DecodeError:
        words = f"message: {len(body)} bytes that do not parse; accepted: a HealthCheckRequest"
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, words)
        raise


class Health:
    """What probes and load balancers see; follows the repository, and the drain before all else."""

    def __init__(self, repository: Repository, services: Sequence[str]) -> None:
        self._repository = repository
        self._overall = ["", *services]
        self._servicer = EndingWatches()

    async def start(self, server: grpc.aio.Server) -> None:
        """Register, NOT_SERVING (grpcio's servicer starts as SERVING) but alive."""
        for name in self._overall:
            await self._servicer.set(name, NOT_SERVING)
        await self._servicer.set(LIVENESS, SERVING)
        server.add_generic_rpc_handlers((self._servicer.handler(),))

    async def follow(self, changed: ModelVersion) -> None:
        """Publish a version's state, and what it means for its model and for the whole."""
        is_ready = self._repository.is_ready(changed.name, changed.version)
        await self._set(f"model/{changed.name}/{changed.version}", is_ready=is_ready)
        await self._set(f"model/{changed.name}", is_ready=self._repository.is_ready(changed.name, ""))

    async def publish_overall(self) -> None:
        """To be called when the initial load is over."""
        for name in self._overall:
            await self._set(name, is_ready=self._repository.are_all_ready())

    async def drain(self) -> None:
        """NOT_SERVING for everything but liveness, for good."""
        models = {f"model/{version.name}" for version in self._repository.versions()}
        versions = {f"model/{version.name}/{version.version}" for version in self._repository.versions()}
        for name in (*self._overall, *sorted(models | versions)):
            await self._servicer.set(name, NOT_SERVING)

    def end_watches(self) -> None:
        """Close health's streams, after their watchers heard of the drain."""
        self._servicer.end_watches()

    async def _set(self, name: str, *, is_ready: bool) -> None:
        await self._servicer.set(name, SERVING if is_ready else NOT_SERVING)
