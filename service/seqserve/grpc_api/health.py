"""`grpc.health.v1` on the main port: overall, each gRPC service, each model and version, and `liveness`.

grpcio's own servicer starts as SERVING, cannot forget a name, and keeps watches open through a drain; so
the few lines that answer are here, on statuses that the health port shares.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from seqserve.errors import quote_came
from seqserve.grpc_api.boundary import Handler
from seqserve.grpc_api.health_statuses import (
    NOT_SERVING,
    OF_MODELS,
    SERVING,
    Status,
    Statuses,
    StatusesForProbes,
    Telling,
)
from seqserve.grpc_api.mapped import mapped
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelVersion

SERVICE = "grpc.health.v1.Health"


class HealthService:
    """Check, List and Watch for grpc.aio; bytes in, so that malformed protobuf is refused in our words."""

    def __init__(self, statuses: Statuses) -> None:
        self._statuses = statuses

    def handler(self) -> Handler:
        """What the gRPC server registers."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(mapped(self.check, f"/{SERVICE}/Check")),
                "List": grpc.unary_unary_rpc_method_handler(mapped(self.list_all, f"/{SERVICE}/List")),
                "Watch": grpc.unary_stream_rpc_method_handler(mapped(self.watch, f"/{SERVICE}/Watch")),
            },
        )

    async def check(self, body: bytes, context: Any) -> bytes:
        """The status now; NOT_FOUND for a name that nobody knows."""
        name = await self._name(body, context)
        status = self._statuses.find(name)
        if status is not None:
            return reply(status)
        await context.abort(grpc.StatusCode.NOT_FOUND, unknown_words(name))
        raise AssertionError("abort raises")  # pragma: no cover

    async def list_all(self, _: bytes, __: Any) -> bytes:
        """Every name with its status now; the request is empty."""
        return reply_to_list(self._statuses)

    async def watch(self, body: bytes, context: Any) -> None:
        """The status now and after each change, until the caller leaves or a drain ends it."""
        telling = Telling(self._statuses, await self._name(body, context))
        is_changed = asyncio.Event()
        wake = partial(asyncio.get_running_loop().call_soon_threadsafe, is_changed.set)
        with self._statuses.waking(wake):
            while True:
                is_changed.clear()
                is_last = self._statuses.is_over  # read first: what is published before it is told
                if (status := telling.news()) is not None:
                    await context.write(reply(status))
                if is_last:
                    return
                await is_changed.wait()

    async def _name(self, body: bytes, context: Any) -> str:
        try:
            return parse_name(body)
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, malformed_words(body))
            raise


class Health:
    """What probes and load balancers see; follows the repository, and the drain before all else."""

    def __init__(self, repository: Repository, services: Sequence[str]) -> None:
        self.statuses = Statuses()
        self._repository = repository
        self._overall = ("", *services)
        self._names_of: dict[str, set[str]] = {}
        for name in self._overall:
            self.statuses.publish(name, NOT_SERVING)

    def handler(self) -> Handler:
        """What the main port registers: alive, and NOT_SERVING until there is something to serve."""
        return HealthService(self.statuses).handler()

    async def follow(self, changed: ModelVersion) -> None:
        """Publish what a version's change means: for itself, for its model and for the whole."""
        model = changed.name
        versions = {entry.version for entry in self._repository.versions_of(model)}
        is_ready = {
            f"{OF_MODELS}{model}/{version}": self._repository.is_ready(model, version) for version in versions
        }
        if versions:
            is_ready[f"{OF_MODELS}{model}"] = self._repository.is_ready(model, "")
        for name, is_name_ready in is_ready.items():
            self.statuses.publish(name, _status(is_ready=is_name_ready))
        for name in self._names_of.pop(model, set()) - is_ready.keys():
            self.statuses.withdraw(name)
        if is_ready:
            self._names_of[model] = set(is_ready)
        self.publish_overall()

    def publish_overall(self) -> None:
        """To be called when the initial load is over, the engine is gone, or nobody listens for gRPC."""
        for name in self._overall:
            self.statuses.publish(name, _status(is_ready=self._repository.are_all_ready()))

    def note_unheard(self, reason: str) -> None:
        """Why nobody listens for gRPC; "" once somebody does."""
        self._repository.unheard = reason
        self.publish_overall()

    def drain(self) -> None:
        """NOT_SERVING for everything but liveness, for good."""
        self.statuses.drain()

    def end_watches(self) -> None:
        """Close health's streams, after their watchers heard of the drain."""
        self.statuses.end_watches()


def parse_name(body: bytes) -> str:
    """Which name a HealthCheckRequest asks for. Raises DecodeError."""
    name: str = health_pb2.HealthCheckRequest.FromString(body).service
    return name


def reply(status: Status) -> bytes:
    """A HealthCheckResponse."""
    message: bytes = health_pb2.HealthCheckResponse(status=status).SerializeToString()
    return message


def reply_to_list(statuses: Statuses | StatusesForProbes) -> bytes:
    """A HealthListResponse."""
    found = {name: health_pb2.HealthCheckResponse(status=status) for name, status in statuses.all().items()}
    message: bytes = health_pb2.HealthListResponse(statuses=found).SerializeToString()
    return message


def unknown_words(name: str) -> str:
    """Why a Check is NOT_FOUND."""
    return f"nothing here is called {quote_came(name)!r}"


def malformed_words(body: bytes) -> str:
    """Why a message is INVALID_ARGUMENT."""
    return f"message: {len(body)} bytes that do not parse; accepted: a HealthCheckRequest"


def _status(*, is_ready: bool) -> Status:
    return SERVING if is_ready else NOT_SERVING
