"""The one place where bytes become messages and errors become statuses.

Handlers take and return messages and raise errors of `seqserve.errors`. The boundary parses, so that
malformed protobuf is INVALID_ARGUMENT and not UNKNOWN, gives each call an id, and lets no exception's
text through that is not meant for a client (grpc.aio would send it).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
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
from seqserve.tracing import Tracing

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


@dataclass(frozen=True, slots=True)
class Boundary:
    """What every call passes, whichever service it belongs to.

    on_malformed: called for each message that is no valid protobuf.
    """

    tracing: Tracing
    on_malformed: Callable[[], None]

    def handler(self, service: ServiceDescriptor, methods: dict[str, Method]) -> Handler:
        """The handler of a service, for a gRPC server; methods by the names of the descriptor."""
        handlers = {
            name: self._unary(service.methods_by_name[name], method) for name, method in methods.items()
        }
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    def _unary(self, descriptor: MethodDescriptor, method: Method) -> grpc.RpcMethodHandler[bytes, bytes]:
        request_class = GetMessageClass(descriptor.input_type)

        async def handle(body: bytes, context: Context) -> bytes:
            metadata = {
                key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
            }
            call = Call(_request_id(metadata), context.time_remaining())
            context.set_trailing_metadata(((REQUEST_ID, call.request_id),))
            with self.tracing.span(descriptor.full_name, call.request_id, metadata) as span:
                try:
                    reply = await method(self._parse(request_class, body), call)
                    return reply.SerializeToString()
                except Exception as error:  # noqa: BLE001 - the boundary: nothing passes it unmapped
                    status = _report(error, call.request_id, descriptor.full_name)
                    span.fail(status_of(error).grpc.name)
            await _abort(context, status, call.request_id)
            raise AssertionError("abort raises")  # pragma: no cover

        return grpc.unary_unary_rpc_method_handler(handle)  # bytes in, bytes out: parsing is ours

    def _parse(self, request_class: type[Message], body: bytes) -> Message:
        try:
            return request_class.FromString(body)
        except DecodeError as error:
            self.on_malformed()
            raise InvalidRequest(
                "MALFORMED_PROTOBUF", field="message", came=f"{len(body)} bytes that do not parse",
                accepted=f"a protobuf {request_class.DESCRIPTOR.full_name}",
            ) from error  # fmt: skip


def _request_id(metadata: Mapping[str, str]) -> str:
    """The caller's, where it is fit for logs, else a new one."""
    given = metadata.get(REQUEST_ID, "")
    return given if REQUEST_ID_PATTERN.fullmatch(given) else uuid.uuid4().hex


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
