"""The one place where bytes become messages and errors become statuses.

Handlers take and return messages and raise errors of `seqserve.errors`. The boundary parses, so that
malformed protobuf is INVALID_ARGUMENT and not UNKNOWN, gives each call an id, and lets no exception's
text through that is not meant for a client (grpc.aio would send it).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2
from grpc_status.rpc_status import to_status

from seqserve.errors import InvalidRequest, MessageTooLarge, ShuttingDown
from seqserve.grpc_api.streams import Answer, Context, Streams
from seqserve.request_ids import REQUEST_ID, REQUEST_ID_PATTERN, canary_key, request_id
from seqserve.status import describe, status_of
from seqserve.tracing import Tracing

log = structlog.get_logger()

INFERENCE = frozenset({"ModelInfer", "ModelStreamInfer", "Predict", "PredictStream"})
"""The methods whose messages are inference requests, and are counted as such."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler may know of the call beside its message.

    is_given: the caller sent a request id, and `request_id` is that one or begins with it.
    """

    request_id: str
    timeout_seconds: float | None
    is_given: bool

    def canary_key(self, own_id: str) -> str:
        """See seqserve.request_ids; own_id: the message's, or ""."""
        return canary_key(self.request_id, own_id, is_given=self.is_given)


# Any: each method takes the message of its own descriptor.
Method = Callable[[Any, Call], Awaitable[Message | bytes]]
"""Bytes: a reply that the handler has serialized itself, to know how long that took."""
# Quoted: generic for type checkers only.
Handler: TypeAlias = "grpc.GenericRpcHandler[bytes, bytes]"


@dataclass(frozen=True, slots=True)
class StreamMethod:
    """A method whose messages are answered one by one, in the order in which the answers are ready.

    answer: as a unary method, for each message.
    on_error: the reply that tells the caller of an error; the message is None where it did not parse.
    id_of: the caller's own id of a message, or "".
    """

    answer: Method
    on_error: Callable[[Any, status_pb2.Status], Message]
    id_of: Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Boundary:
    """What every call passes, whichever service it belongs to.

    on_malformed: called for each inference request that is no valid protobuf.
    max_message_bytes: gRPC's limit for what is sent. Above it gRPC itself would end the call without
    details, and a stream with all that is under way in it.
    """

    tracing: Tracing
    on_malformed: Callable[[], None]
    max_message_bytes: int
    _streams: Streams = field(default_factory=Streams)

    def handler(
        self,
        service: ServiceDescriptor,
        methods: Mapping[str, Method],
        streams: Mapping[str, StreamMethod] | None = None,
    ) -> Handler:
        """The handler of a service, for a gRPC server; methods by the names of the descriptor."""
        by_name = service.methods_by_name
        handlers = {name: self._unary(by_name[name], method) for name, method in methods.items()}
        for name, stream in (streams or {}).items():
            handlers[name] = self._bidirectional(by_name[name], stream)
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    def drain(self) -> None:
        """End every stream as UNAVAILABLE, once it has answered what it has taken."""
        self._streams.drain()

    def _unary(self, descriptor: MethodDescriptor, method: Method) -> grpc.RpcMethodHandler[bytes, bytes]:
        request_class = GetMessageClass(descriptor.input_type)

        async def handle(body: bytes, context: Context) -> bytes:
            metadata = _metadata(context)
            given = metadata.get(REQUEST_ID, "")
            call = Call(call_id := request_id(given), context.time_remaining(), call_id == given)
            context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
            with self.tracing.span(descriptor.full_name, call.request_id, metadata) as span:
                try:
                    return self._bytes(await method(self._parse(descriptor, request_class, body), call))
                except Exception as error:  # noqa: BLE001 - the boundary: nothing passes it unmapped
                    status = _report(error, call.request_id, descriptor.full_name)
                    span.fail(status_of(error).grpc.name)
            await _abort(context, status, call.request_id)
            raise AssertionError("abort raises")  # pragma: no cover

        return grpc.unary_unary_rpc_method_handler(handle)  # bytes in, bytes out: parsing is ours

    def _bidirectional(
        self, descriptor: MethodDescriptor, method: StreamMethod
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        async def handle(_: object, context: Context) -> None:
            metadata = _metadata(context)
            stream_id = request_id(metadata.get(REQUEST_ID, ""))
            context.set_trailing_metadata(((REQUEST_ID, stream_id),))
            answer = self._answer(descriptor, method, context, stream_id, metadata)
            await self._streams.run(context, answer, partial(_end_drained, context, stream_id))

        return grpc.stream_stream_rpc_method_handler(handle)

    def _answer(
        self,
        descriptor: MethodDescriptor,
        method: StreamMethod,
        context: Context,
        stream_id: str,
        metadata: Mapping[str, str],
    ) -> Answer:
        """How one stream answers each of its messages."""
        request_class = GetMessageClass(descriptor.input_type)
        is_given = stream_id == metadata.get(REQUEST_ID)

        async def answer(body: bytes, number: int) -> bytes:
            request, message_id = None, f"{stream_id}.{number}"
            try:
                request = self._parse(descriptor, request_class, body)
                if REQUEST_ID_PATTERN.fullmatch(own_id := method.id_of(request)):
                    message_id = f"{stream_id}.{own_id}"
                with self.tracing.span(descriptor.full_name, message_id, metadata) as span:
                    try:
                        call = Call(message_id, context.time_remaining(), is_given)
                        return self._bytes(await method.answer(request, call))
                    except Exception as error:
                        span.fail(status_of(error).grpc.name)
                        raise
            except Exception as error:  # noqa: BLE001 - the boundary: nothing passes it unmapped
                status = _report(error, message_id, descriptor.full_name)
                reply = method.on_error(request, status).SerializeToString()
                if len(reply) > self.max_message_bytes:  # the message's own id is as long as that
                    reply = method.on_error(None, status).SerializeToString()
                return reply

        return answer

    def _parse(self, descriptor: MethodDescriptor, request_class: type[Message], body: bytes) -> Message:
        try:
            return request_class.FromString(body)
        except DecodeError as error:
            if descriptor.name in INFERENCE:
                self.on_malformed()
            raise InvalidRequest(
                "MALFORMED_PROTOBUF", field="message", came=f"{len(body)} bytes that do not parse",
                accepted=f"a protobuf {request_class.DESCRIPTOR.full_name}",
            ) from error  # fmt: skip

    def _bytes(self, reply: Message | bytes) -> bytes:
        body = reply if isinstance(reply, bytes) else reply.SerializeToString()
        if len(body) > self.max_message_bytes:
            raise MessageTooLarge(self.max_message_bytes, what="reply")
        return body


def _metadata(context: Context) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


def _report(error: Exception, request_id: str, method: str) -> status_pb2.Status:
    code = status_of(error).grpc
    if code is grpc.StatusCode.INTERNAL:
        log.error("call failed", method=method, request_id=request_id, exc_info=error)
    else:
        log.debug("call refused", method=method, request_id=request_id, code=code.name, reason=str(error))
    return describe(error, request_id)


async def _end_drained(context: Context, stream_id: str) -> None:
    error = ShuttingDown("the gateway is shutting down; what has no reply was not answered")
    await _abort(context, describe(error, stream_id), stream_id)


async def _abort(context: Context, status: status_pb2.Status, request_id: str) -> None:
    wire = to_status(status)
    await context.abort(wire.code, wire.details, (*wire.trailing_metadata, (REQUEST_ID, request_id)))
