"""The one place where bytes become messages and errors become statuses.

Handlers take and return messages and raise errors of `seqserve.errors`. The boundary parses, so that
malformed protobuf is INVALID_ARGUMENT and not UNKNOWN, gives each call an id, and lets no exception's
text through that is not meant for a client (grpc.aio would send it).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

import grpc
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2

from seqserve.access.gate import ANY_ROOM, Gate
from seqserve.call_log import CallLine, log_answered
from seqserve.errors import (
    InvalidRequest,
    MessageTooLarge,
    PermissionDenied,
    SeqserveError,
    ShuttingDown,
    Unauthenticated,
)
from seqserve.grpc_api.callers import room_of_caller
from seqserve.grpc_api.field_count import check_field_count
from seqserve.grpc_api.mapped import not_parsed
from seqserve.grpc_api.metadata import Metadata, authorizations, texts
from seqserve.grpc_api.refusals import abort, report
from seqserve.grpc_api.streams import Context, LastReply, Streams
from seqserve.logs import is_logged
from seqserve.request_ids import REQUEST_ID, REQUEST_ID_PATTERN, canary_key, request_id
from seqserve.status import describe
from seqserve.tracing import Span, Tracing, trace_id_of

INFERENCE = frozenset({"ModelInfer", "ModelStreamInfer", "Predict", "PredictStream"})
"""The methods whose messages are inference requests, and are counted as such; all streams are of these."""


@dataclass(slots=True)
class Call:
    """What a handler may know of the call beside its message, and what the predictor tells of it.

    is_given: the caller sent a request id, and `request_id` is that one or begins with it.
    model, version, examples: see Asker.
    """

    request_id: str
    timeout_seconds: float | None
    is_given: bool
    model: str = ""
    version: str = ""
    examples: int = 0

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

    gate: knows whose call it is. A Guard has asked it whether the call may be made; here it is asked for
    the caller's room, and about each message of a stream.
    on_malformed: called for each inference request that is no valid protobuf.
    max_message_bytes: gRPC's limit for what is sent. Above it gRPC itself would end the call without
    details, and a stream with all that is under way in it.
    """

    tracing: Tracing
    on_malformed: Callable[[], None]
    max_message_bytes: int
    gate: Gate
    _streams: Streams = field(default_factory=Streams)
    _stream_methods: dict[str, tuple[MethodDescriptor, StreamMethod]] = field(default_factory=dict)

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
            self._stream_methods[f"/{service.full_name}/{name}"] = by_name[name], stream
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    def stream_call(self, path: str, context: Context) -> StreamCall:
        """One stream of a method by its path, for who reads and writes its messages elsewhere."""
        return StreamCall(self, *self._stream_methods[path], context)

    def drain(self) -> None:
        """End every stream as UNAVAILABLE, once it has answered what it has taken."""
        self._streams.drain()

    def _unary(self, descriptor: MethodDescriptor, method: Method) -> grpc.RpcMethodHandler[bytes, bytes]:
        is_limited = descriptor.name in INFERENCE

        async def handle(body: bytes, context: Context) -> bytes:
            pairs = context.invocation_metadata() or ()
            metadata = texts(pairs)
            given = metadata.get(REQUEST_ID, "")
            call = Call(call_id := request_id(given), context.time_remaining(), call_id == given)
            context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
            started = time.perf_counter()
            with self.tracing.span(descriptor.full_name, call.request_id, metadata) as span:
                try:
                    with self._room(pairs) if is_limited and not self.gate.is_open else ANY_ROOM:
                        reply = self.bytes_of(await method(self.parse(descriptor, body), call))
                except Exception as error:  # noqa: BLE001 - the boundary: nothing passes it unmapped
                    status = report(error, _line(descriptor, call, span, metadata))
                    span.fail(error)
                else:
                    if is_logged("debug"):
                        _log_answered(_line(descriptor, call, span, metadata), call, started)
                    return reply
            del body  # grpc.aio leaves a cycle behind an abort, and this frame in it, for the collector
            await abort(context, status, call.request_id)
            raise AssertionError("abort raises")  # pragma: no cover

        return grpc.unary_unary_rpc_method_handler(handle)  # bytes in, bytes out: parsing is ours

    def _bidirectional(
        self, descriptor: MethodDescriptor, method: StreamMethod
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        async def handle(_: object, context: Context) -> None:
            call = StreamCall(self, descriptor, method, context)
            context.set_trailing_metadata(((REQUEST_ID, call.id),))
            await self._streams.run(context, call.answer, call.end)

        return grpc.stream_stream_rpc_method_handler(handle)

    def _room(self, metadata: Metadata) -> AbstractContextManager[None]:
        return room_of_caller.get(None) or self.gate.admit(authorizations(metadata), "inference")

    def parse(self, descriptor: MethodDescriptor, body: bytes) -> Message:
        """A method's message. Raises InvalidRequest, or Overloaded where there is no memory for it."""
        request_class = _class_of(descriptor.input_type)
        try:
            check_field_count(body, descriptor.input_type, self.max_message_bytes)
            return request_class.FromString(body)
        except (DecodeError, InvalidRequest) as error:
            if descriptor.name in INFERENCE:
                self.on_malformed()
            if isinstance(error, InvalidRequest):
                raise
            raise not_parsed(body, request_class, error) from error

    def bytes_of(self, reply: Message | bytes) -> bytes:
        """A reply's. Raises MessageTooLarge."""
        body = reply if isinstance(reply, bytes) else reply.SerializeToString()
        if len(body) > self.max_message_bytes:
            raise MessageTooLarge(self.max_message_bytes, what="reply")
        return body


def _line(descriptor: MethodDescriptor, call: Call, span: Span, metadata: Mapping[str, str]) -> CallLine:
    trace_id = span.trace_id or trace_id_of(metadata)
    return CallLine(descriptor.full_name, call.request_id, trace_id, call.model, call.version)


def _log_answered(line: CallLine, call: Call, started: float) -> None:
    log_answered(line, "OK", seconds=time.perf_counter() - started, examples=call.examples)


@cache
def _class_of(descriptor: Descriptor) -> type[Message]:
    return GetMessageClass(descriptor)


class StreamCall:
    """One stream: how each of its messages is answered, and how it ends where its caller does not end it.

    id: of the call; those of its messages begin with it.
    """

    def __init__(
        self,
        boundary: Boundary,
        descriptor: MethodDescriptor,
        method: StreamMethod,
        context: Context,
    ) -> None:
        pairs = context.invocation_metadata() or ()
        self._boundary = boundary
        self._descriptor = descriptor
        self._method = method
        self._context = context
        self._metadata = texts(pairs)
        self._authorizations = authorizations(pairs)
        given = self._metadata.get(REQUEST_ID, "")
        self.id = request_id(given)
        self._is_given = self.id == given
        self._ended_by: SeqserveError = ShuttingDown(
            "the gateway is shutting down; what has no reply was not answered"
        )

    async def answer(self, body: bytes, number: int) -> bytes | LastReply:
        """See streams.Answer. Who may not call any more has its last reply."""
        message = _Message(Call(f"{self.id}.{number}", None, self._is_given))
        try:
            room = self._boundary.gate.admit(self._authorizations, "inference")
            self._read(body, message)
            with room:
                return await self._reply(message)
        except (Unauthenticated, PermissionDenied) as error:
            self._ended_by = error
            with suppress(InvalidRequest):  # read for its id alone
                self._read(body, message)
            return LastReply(self._refused(error, message))
        except Exception as error:  # noqa: BLE001 - the boundary: nothing passes it unmapped
            return self._refused(error, message)

    async def end(self) -> None:
        """See streams.End."""
        await abort(self._context, describe(self._ended_by, self.id), self.id)

    def _read(self, body: bytes, message: _Message) -> None:
        message.request = self._boundary.parse(self._descriptor, body)
        if REQUEST_ID_PATTERN.fullmatch(own_id := self._method.id_of(message.request)):
            message.call.request_id = f"{self.id}.{own_id}"

    async def _reply(self, message: _Message) -> bytes:
        call, started = message.call, time.perf_counter()
        with self._boundary.tracing.span(self._descriptor.full_name, call.request_id, self._metadata) as span:
            message.trace_id = span.trace_id
            try:
                call.timeout_seconds = self._context.time_remaining()
                reply = self._boundary.bytes_of(await self._method.answer(message.request, call))
            except Exception as error:
                span.fail(error)
                raise
            if is_logged("debug"):
                _log_answered(_line(self._descriptor, call, span, self._metadata), call, started)
            return reply

    def _refused(self, error: Exception, message: _Message) -> bytes:
        call, trace_id = message.call, message.trace_id or trace_id_of(self._metadata)
        line = CallLine(self._descriptor.full_name, call.request_id, trace_id, call.model, call.version)
        status = report(error, line)
        reply = self._method.on_error(message.request, status).SerializeToString()
        if len(reply) > self._boundary.max_message_bytes:  # the message's own id is as long as that
            reply = self._method.on_error(None, status).SerializeToString()
        return reply


@dataclass(slots=True)
class _Message:
    """One message of a stream; request: None as long as it is not parsed. trace_id: of its span."""

    call: Call
    request: Any = None
    trace_id: str = ""
