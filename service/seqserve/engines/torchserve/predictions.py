"""TorchServe's gRPC inference API: one channel, over which batches travel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import grpc

from seqserve.engines.torchserve.rounds import Time
from seqserve.engines.torchserve.tokens import TOKEN_PAUSES_SECONDS, Metadata, Tokens, authorization
from seqserve.engines.torchserve.wire import fault_of
from seqserve.errors import EngineUnavailable
from seqserve.pb import torchserve_pb2

T = TypeVar("T")

SERVICE = torchserve_pb2.DESCRIPTOR.services_by_name["InferenceAPIsService"].full_name
PING, PREDICTIONS = f"/{SERVICE}/Ping", f"/{SERVICE}/Predictions"
CALL_SECONDS = 300.0
ROUND_ROBIN = '{"loadBalancingConfig": [{"round_robin": {}}]}'
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # the server's own limit bounds what comes
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A machine that vanished closes no connection: where it has not taken what was sent within 5 s, it is
    # closed here. Asking it more often than every 5 minutes would end the calls in flight: TorchServe
    # leaves gRPC's limit for that as it is.
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    ("grpc.service_config", ROUND_ROBIN),
    ("grpc.enable_retries", 0),  # a batch is never run twice
]


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server is to be known.

    root_certificates: PEM; None are those that gRPC brings along.
    host: the name that its certificate must bear.
    """

    root_certificates: bytes | None
    host: str


class Predictions:
    """Batches over a channel, which `connect` opens. Every call raises EngineUnavailable before that.

    call_seconds: a batch without an answer for so long is lost. TorchServe kills a worker that takes too
    long, but it forgets jobs that waited for a worker that was taken away.
    """

    def __init__(
        self,
        tokens: Tokens,
        tls: Tls | None = None,
        *,
        call_seconds: float = CALL_SECONDS,
        time: Time | None = None,
    ) -> None:
        self._tokens = tokens
        self._tls = tls
        self._call_seconds = call_seconds
        self._time = time or Time()
        self._channel: grpc.aio.Channel | None = None
        self._closing: dict[asyncio.Task[None], grpc.aio.Channel] = {}

    def connect(self, target: str) -> None:
        """Use this target from now on, in gRPC's syntax; what is in flight ends on the old channel."""
        before, self._channel = self._channel, _open(target, self._tls)
        if before is not None:
            closing = asyncio.get_running_loop().create_task(self._close_later(before))
            self._closing[closing] = before
            closing.add_done_callback(self._closing.pop)

    async def ping(self, timeout_seconds: float) -> None:
        """Return when a server takes calls, with this token. Raises EngineUnavailable where none does."""

        async def ping(metadata: Metadata) -> None:
            call = self._connected().unary_unary(PING, request_serializer=bytes, response_deserializer=bytes)
            await call(b"", metadata=metadata, timeout=timeout_seconds)  # an Empty has no bytes

        try:
            await self._authorized(ping)
        except grpc.aio.AioRpcError as error:
            raise EngineUnavailable(f"TorchServe does not answer: {error.details()}") from error

    async def predict(self, request: bytes) -> bytes:
        """The handler's bytes. request: a PredictionsRequest, serialized.

        Raises EngineUnavailable, Overloaded, EngineContractError. A cancel goes through.
        """

        async def predict(metadata: Metadata) -> bytes:
            call = self._connected().unary_unary(
                PREDICTIONS,
                request_serializer=bytes,
                response_deserializer=torchserve_pb2.PredictionResponse.FromString,
            )
            reply = await call(request, metadata=metadata, timeout=self._call_seconds)
            return bytes(reply.prediction)

        try:
            return await self._authorized(predict)
        except grpc.aio.AioRpcError as error:
            raise fault_of(error) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise EngineUnavailable("the channel to TorchServe was closed") from error

    async def aclose(self) -> None:
        """Cancel what is in flight and disconnect."""
        closing = dict(self._closing)
        for task in closing:
            task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)
        for channel in [*closing.values(), self._channel]:
            if channel is not None:
                await channel.close(None)
        self._channel = None

    async def _close_later(self, channel: grpc.aio.Channel) -> None:
        await self._time.sleep(self._call_seconds)  # no call in flight lasts longer
        await channel.close(None)

    async def _authorized(self, call: Callable[[Metadata], Awaitable[T]]) -> T:
        """Make a call; where the token is refused, somebody has renewed it, and nobody has seen the call."""
        for pause_seconds in TOKEN_PAUSES_SECONDS:
            try:
                return await call(authorization(self._tokens.inference()))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.PERMISSION_DENIED:
                    raise
            await self._time.sleep(pause_seconds)
            self._tokens.forget()
        return await call(authorization(self._tokens.inference()))

    def _connected(self) -> grpc.aio.Channel:
        if self._channel is None:
            raise EngineUnavailable("TorchServe's address does not resolve")
        return self._channel


def _open(target: str, tls: Tls | None) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
    options = [*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", tls.host)]
    credentials = grpc.ssl_channel_credentials(tls.root_certificates)
    return grpc.aio.secure_channel(target, credentials, options=options)
