"""The one place where bytes become messages and errors become statuses.

Handlers take and return messages and raise errors of `seqserve.errors`. The boundary parses, so that
malformed protobuf is INVALID_ARGUMENT and not UNKNOWN, gives each call an id, and lets no exception's
text through that is not meant for a client (grpc.aio would send it).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2
from grpc_status.rpc_status import to_status

from seqserve.errors import InvalidRequest
from seqserve.status import describe, status_of

log = structlog.get_logger()

REQUEST_ID = "x-request-id"
REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler may know of the call beside its message."""

    request_id: str
    timeout_seconds: float | None


# Any: each method takes the message of its own descriptor.
Method = Callable[[Any, Call], Awaitable[Message]]
# Quoted: these are generic for type checkers only.
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Handler: TypeAlias = "grpc.GenericRpcHandler[bytes, bytes]"
OnMalformed = Callable[[], None]


def service_handler(
    service: ServiceDescriptor, methods: dict[str, Method], on_malformed: OnMalformed = lambda: None
) -> Handler:
    """The handler of a service, for a gRPC server.

    methods: a coroutine for each method name of the service's descriptor.
    on_malformed: called for each message that is no valid protobuf.
    """
    handlers = {
        name: _unary(service.methods_by_name[name], method, on_malformed) for name, method in methods.items()
    }
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _unary(
    descriptor: MethodDescriptor, method: Method, on_malformed: OnMalformed
) -> grpc.RpcMethodHandler[bytes, bytes]:
    request_class = GetMessageClass(descriptor.input_type)

    async def handle(body: bytes, context: Context) -> bytes:
        call = _call(context)
        context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
        try:
            reply = await method(_parse(request_class, body, on_malformed), call)
            return reply.SerializeToString()
        except Exception as error:  # noqa: BLE001 - the boundary: nothing passes it unmapped
            status = _report(error, call.request_id, descriptor.full_name)
        await _abort(context, status, call.request_id)
        raise AssertionError("abort raises")  # pragma: no cover

    return grpc.unary_unary_rpc_method_handler(handle)  # bytes in, bytes out: parsing is ours


def _call(context: Context) -> Call:
    request_id = ""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID and isinstance(value, str) and REQUEST_ID_PATTERN.fullmatch(value):
            request_id = value
    remaining = context.time_remaining()
    return Call(request_id or uuid.uuid4().hex, remaining)


def _parse(request_class: type[Message], body: bytes, on_malformed: OnMalformed) -> Message:
    try:
        return request_class.FromString(body)
    except DecodeError as error:
        on_malformed()
        raise InvalidRequest(
            "MALFORMED_PROTOBUF", field="message", came=f"{len(body)} bytes that do not parse",
            accepted=f"a protobuf {request_class.DESCRIPTOR.full_name}",
        ) from error  # fmt: skip


def _report(error: Exception, request_id: str, method: str) -> status_pb2.Status:
    code = status_of(error).grpc
    if code is grpc.StatusCode.INTERNAL:
        log.error("call failed", method=method, request_id=request_id, exc_info=error)
    else:
        log.debug("call refused", method=method, request_id=request_id, code=code.name, reason=str(error))
    return describe(error, request_id)


async def _abort(context: Context, status: status_pb2.Status, request_id: str) -> None:
    wire = to_status(status)
    await context.abort(wire.code, wire.details, (*wire.trailing_metadata, (REQUEST_ID, request_id)))
