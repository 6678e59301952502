"""The client for asyncio; sync.py is its twin, and what both have in common lies in modules of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Any, Self

import grpc
from grpc.aio import EOF  # type: ignore[attr-defined]  # the stubs leave it out
from grpc_health.v1 import health_pb2, health_pb2_grpc

from seqserve.client.connection import MAX_MESSAGE_BYTES, Connection, channel_options, id_of_call
from seqserve.client.replies import (
    Model,
    ModelVersions,
    Reply,
    StreamReply,
    model_versions_of,
    models_of,
    reply_of,
    stream_reply_of,
)
from seqserve.client.requests import Examples, predict_request
from seqserve.client.stream_ends import StreamEnd
from seqserve.client.tls import Tls
from seqserve.client.tokens import Token
from seqserve.pb.v1 import prediction_pb2 as pb
from seqserve.pb.v1 import prediction_pb2_grpc


class AsyncClient:
    """Asks one gateway, or all of a name's in turn, from a running event loop.

    Use it in `async with`, or await `close`.
    address: HOST:PORT; of a name with several addresses each call takes the next one that has a connection.
    timeout_seconds: of each call that names none. max_attempts: tries of a call that meets
    UNAVAILABLE, or a server that stops; they have a budget.
    max_message_bytes: of the largest request and the largest reply; the gateway has a limit of its own.
    token: says who calls; a function is asked before each call. tls: True, or Tls with certificates.
    allow_plaintext_token: send the token unencrypted to another machine. Raises ValueError for a token that
    would go there otherwise, and OSError for certificates that cannot be read.
    Every call raises PredictionError; see errors.py for what kinds there are.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_seconds: float = 10.0,
        max_attempts: int = 4,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        token: Token | None = None,
        tls: bool | Tls = False,
        allow_plaintext_token: bool = False,
    ) -> None:
        self._connection = Connection.checked(
            address,
            channel_options(max_attempts, max_message_bytes),
            token=token,
            tls=tls,
            allow_plaintext_token=allow_plaintext_token,
        )
        self._channel = self._connection.aio_channel()
        self._stub = prediction_pb2_grpc.PredictionServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self._timeout_seconds = timeout_seconds

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; what is under way is cancelled."""
        await self._channel.close(None)

    async def predict(
        self,
        examples: Examples,
        *,
        model: str,
        version: str = "",
        top_k: int = 0,
        timeout_seconds: float | None = None,
        request_id: str = "",
    ) -> Reply:
        """Answers for one example or a batch; see Client.predict."""
        request = predict_request(examples, model=model, version=version, top_k=top_k)
        return reply_of(await self._call(self._stub.Predict, request, timeout_seconds, request_id))

    async def stream(
        self,
        items: AsyncIterable[Examples] | Iterable[Examples],
        *,
        model: str,
        version: str = "",
        top_k: int = 0,
        timeout_seconds: float | None = None,
        request_id: str = "",
    ) -> AsyncGenerator[StreamReply]:
        """Answers to each item over one stream, in the order in which they are ready; see Client.stream.

        A task of its own iterates over `items`. Who leaves the loop early closes the stream with
        `contextlib.aclosing`, or leaves that to the event loop.
        """
        sent_id = id_of_call(request_id)

        def request_of(index: int, examples: Examples) -> pb.PredictRequest:
            request = predict_request(examples, model=model, version=version, top_k=top_k)
            request.id = str(index)
            return request

        call = self._stub.PredictStream(timeout=timeout_seconds, metadata=self._connection.metadata(sent_id))
        end = StreamEnd(call)
        sending = asyncio.create_task(_send(call, items, request_of))
        try:
            while (message := await call.read()) is not EOF:
                yield stream_reply_of(message)
            await sending
        except grpc.RpcError as error:
            raise self._connection.error_of(await end.behind(error), sent_id) from error
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            call.cancel()

    async def models(self, *, timeout_seconds: float | None = None) -> list[Model]:
        """Every version of every model that the gateway has."""
        return models_of(await self._call(self._stub.ListModels, pb.ListModelsRequest(), timeout_seconds))

    async def model(self, name: str, *, timeout_seconds: float | None = None) -> ModelVersions:
        """One model: its versions, labels and weights. Raises NotFound."""
        request = pb.GetModelRequest(model=name)
        return model_versions_of(await self._call(self._stub.GetModel, request, timeout_seconds))

    async def health(self, service: str = "", *, timeout_seconds: float | None = None) -> bool:
        """Whether the gateway serves, or `model/NAME`, or `model/NAME/VERSION`. Raises NotFound."""
        request = health_pb2.HealthCheckRequest(service=service)
        reply = await self._call(self._health.Check, request, timeout_seconds)
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    async def _call(
        self, method: Any, request: Any, timeout_seconds: float | None, request_id: str = ""
    ) -> Any:
        sent_id = id_of_call(request_id)
        timeout = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        try:
            return await method(request, timeout=timeout, metadata=self._connection.metadata(sent_id))
        except grpc.RpcError as error:
            raise self._connection.error_of(error, sent_id) from error


async def _send(
    call: Any,
    items: AsyncIterable[Examples] | Iterable[Examples],
    request_of: Callable[[int, Examples], pb.PredictRequest],
) -> None:
    """Write a request for each item, then say that there are no more, even where `items` raises."""
    index = 0
    try:
        async for examples in _asynchronous(items):
            await call.write(request_of(index, examples))
            index += 1
    finally:
        await call.done_writing()


async def _asynchronous(items: AsyncIterable[Examples] | Iterable[Examples]) -> AsyncIterator[Examples]:
    if isinstance(items, AsyncIterable):
        async for examples in items:
            yield examples
    else:
        for examples in items:
            yield examples
