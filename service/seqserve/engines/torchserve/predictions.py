"""TorchServe's gRPC inference API: one channel, over which batches travel."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import grpc
from google.protobuf import empty_pb2

from seqserve.engines.torchserve.tokens import Tokens, authorization
from seqserve.engines.torchserve.wire import fault_of
from seqserve.errors import EngineUnavailable
from seqserve.pb import torchserve_pb2, torchserve_pb2_grpc

TOKEN_PAUSES_SECONDS = (0.0, 0.05, 0.2)
"""A new token counts a moment before its file is written; the token is read again after each of these."""
ROUND_ROBIN = '{"loadBalancingConfig": [{"round_robin": {}}]}'
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # the server's own limit bounds what comes
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 20_000),  # a machine that vanished closes no connection
    ("grpc.keepalive_timeout_ms", 5_000),
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
    """Batches over a channel, which `connect` opens. Every call raises EngineUnavailable before that."""

    def __init__(self, tokens: Tokens, tls: Tls | None = None) -> None:
        self._tokens = tokens
        self._tls = tls
        self._channel: grpc.aio.Channel | None = None
        self._stub: torchserve_pb2_grpc.InferenceAPIsServiceStub | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def connect(self, target: str) -> None:
        """Use this target from now on, in gRPC's syntax; what is in flight ends on the old channel."""
        before, self._channel = self._channel, _open(target, self._tls)
        self._stub = torchserve_pb2_grpc.InferenceAPIsServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated
        if before is not None:
            closing = asyncio.get_running_loop().create_task(before.close(grace=60.0))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def ping(self, timeout_seconds: float) -> None:
        """Return when a server takes calls, with this token. Raises EngineUnavailable where none does."""
        try:
            await self._ping(timeout_seconds)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.PERMISSION_DENIED:
                self._tokens.forget()  # somebody renewed it
            raise EngineUnavailable(f"TorchServe does not answer: {error.details()}") from error

    async def predict(self, request: torchserve_pb2.PredictionsRequest) -> bytes:
        """The handler's bytes.

        Raises EngineUnavailable, Overloaded, EngineContractError. A cancel goes through.
        """
        for pause_seconds in TOKEN_PAUSES_SECONDS:
            try:
                return await self._predict(request)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.PERMISSION_DENIED:
                    raise fault_of(error) from error
            await asyncio.sleep(pause_seconds)
            self._tokens.forget()  # somebody renewed it, and the handler has not seen the batch
        try:
            return await self._predict(request)
        except grpc.aio.AioRpcError as error:
            raise fault_of(error) from error

    async def aclose(self) -> None:
        """Cancel what is in flight and disconnect."""
        for closing in self._closing:
            closing.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close(None)
        self._channel = self._stub = None

    async def _ping(self, timeout_seconds: float) -> None:
        metadata = authorization(self._tokens.inference())
        await self._connected().Ping(empty_pb2.Empty(), metadata=metadata, timeout=timeout_seconds)

    async def _predict(self, request: torchserve_pb2.PredictionsRequest) -> bytes:
        metadata = authorization(self._tokens.inference())
        reply = await self._connected().Predictions(request, metadata=metadata)
        return bytes(reply.prediction)

    def _connected(self) -> torchserve_pb2_grpc.InferenceAPIsServiceStub:
        if self._stub is None:
            raise EngineUnavailable("TorchServe's address does not resolve")
        return self._stub


def _open(target: str, tls: Tls | None) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
    options = [*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", tls.host)]
    credentials = grpc.ssl_channel_credentials(tls.root_certificates)
    return grpc.aio.secure_channel(target, credentials, options=options)
