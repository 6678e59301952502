"""TorchServe's gRPC inference API: one channel, over which batches travel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc

from seqserve.engines.base import batch_headers
from seqserve.engines.timing import Time
from seqserve.engines.torchserve.channels import Channels, Tls
from seqserve.engines.torchserve.tokens import TOKEN_PAUSES_SECONDS, Metadata, Tokens, authorization
from seqserve.engines.torchserve.wire import fault_of
from seqserve.errors import EngineUnavailable
from seqserve.pb import torchserve_pb2

T = TypeVar("T")
Calls = set[grpc.aio.UnaryUnaryCall[Any, Any]]

SERVICE = torchserve_pb2.DESCRIPTOR.services_by_name["InferenceAPIsService"].full_name
PING, PREDICTIONS = f"/{SERVICE}/Ping", f"/{SERVICE}/Predictions"
CALL_SECONDS = 300.0


class Predictions:
    """Batches over a channel, which `connect` opens. Every call raises EngineUnavailable before that.

    gRPC is told no time limits: it reckons them by the wall clock, which may be set meanwhile.

    authority: the name that servers are called by, HOST:PORT; "" is what the target or TLS says.
    call_seconds: a batch without an answer for so long is lost. TorchServe kills a worker that takes too
    long, but it forgets jobs that waited for a worker that was taken away.
    """

    def __init__(
        self,
        tokens: Tokens,
        tls: Tls | None = None,
        *,
        authority: str = "",
        call_seconds: float = CALL_SECONDS,
        time: Time | None = None,
    ) -> None:
        self._tokens = tokens
        self._call_seconds = call_seconds
        self._time = time or Time()
        self._channels = Channels(tls, call_seconds, self._time, authority)
        self._channel: grpc.aio.Channel | None = None
        self._target = ""

    def sibling(self) -> Predictions:
        """Another one with the same tokens and channels, which `connect` leads elsewhere; no aclose."""
        made = Predictions(self._tokens, call_seconds=self._call_seconds, time=self._time)
        made._channels = self._channels
        return made

    def connect(self, target: str) -> None:
        """Use this target from now on, in gRPC's syntax; what is in flight ends on the old channel."""
        channel = self._channels.take(target)
        self.disconnect()
        self._channel, self._target = channel, target

    def disconnect(self) -> None:
        """Use no target any more; what is in flight ends."""
        if self._channel is not None:
            self._channel = None
            self._channels.give_back(self._target)

    async def ping(self, timeout_seconds: float) -> None:
        """Return when a server takes calls, with this token. Raises EngineUnavailable where none does."""

        async def ping(metadata: Metadata) -> None:
            call = self._connected().unary_unary(PING, request_serializer=bytes, response_deserializer=bytes)
            async with asyncio.timeout(timeout_seconds):
                await call(b"", metadata=metadata)  # an Empty has no bytes

        try:
            await self._authorized(ping)
        except TimeoutError as error:
            raise EngineUnavailable(f"TorchServe does not answer within {timeout_seconds:g} s") from error
        except grpc.aio.AioRpcError as error:
            raise EngineUnavailable(f"TorchServe does not answer: {error.details()}") from error

    async def predict(self, request: bytes, calls: Calls | None = None) -> bytes:
        """The handler's bytes.

        request: a PredictionsRequest, serialized; what `batch_headers` holds goes with it.
        calls: holds the call while it is in flight; who cancels it there gives it up, and it raises
        EngineUnavailable.
        Raises EngineUnavailable, Overloaded, EngineContractError. A cancel goes through.
        """
        held = calls if calls is not None else set()
        headers = batch_headers.get()

        async def predict(metadata: Metadata) -> bytes:
            ask = self._connected().unary_unary(
                PREDICTIONS,
                request_serializer=bytes,
                response_deserializer=torchserve_pb2.PredictionResponse.FromString,
            )
            call = ask(request, metadata=(*metadata, *headers))
            held.add(call)
            try:
                async with asyncio.timeout(self._call_seconds):
                    return bytes((await call).prediction)
            finally:
                held.discard(call)

        try:
            return await self._authorized(predict)
        except grpc.aio.AioRpcError as error:
            raise fault_of(error) from error
        except TimeoutError as error:
            raise EngineUnavailable("TorchServe has lost the batch") from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise EngineUnavailable("the call to TorchServe was closed: the batch is given up") from error

    async def aclose(self) -> None:
        """Cancel what is in flight and disconnect."""
        self._channel = None
        await self._channels.aclose()

    async def _authorized(self, call: Callable[[Metadata], Awaitable[T]]) -> T:
        """Make a call; a token that is refused has been renewed or is now, and nobody has seen the call."""
        for pause_seconds in TOKEN_PAUSES_SECONDS:
            try:
                return await call(authorization(self._tokens.inference()))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.PERMISSION_DENIED:
                    raise
            await self._time.sleep(pause_seconds)
            self._tokens.note_refusal()
        return await call(authorization(self._tokens.inference()))

    def _connected(self) -> grpc.aio.Channel:
        if self._channel is None:
            raise EngineUnavailable("TorchServe's address does not resolve")
        return self._channel
