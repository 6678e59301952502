"""Handlers that the boundary does not make: what they let through becomes a status, as it does there.

grpc.aio would tell the caller the exception's own text, as UNKNOWN.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn

from google.protobuf.message import DecodeError, Message
from grpc.aio import AbortError

from seqserve.call_log import CallLine
from seqserve.errors import InvalidRequest, Overloaded
from seqserve.grpc_api.metadata import texts
from seqserve.grpc_api.refusals import abort, report
from seqserve.grpc_api.streams import Context
from seqserve.request_ids import REQUEST_ID, request_id
from seqserve.tracing import trace_id_of

NO_MEMORY = "Arena alloc failed"
"""What protobuf says where it means itself and not the bytes; it has no error of its own for that."""

# Any: a message or an iterator of them in, and likewise out, as grpc.aio has it.
Answer = Callable[[Any, Context], Any]


def mapped(answer: Answer, path: str) -> Answer:
    """The same handler, of which no error comes out as it is.

    answer: returns its reply, or writes or yields its replies.
    """

    async def replies(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            async for reply in answer(request, context):
                yield reply
        except Exception as error:  # noqa: BLE001 - nothing passes unmapped
            await fail(context, error, path)

    async def reply(request: Any, context: Context) -> Any:
        try:
            return await answer(request, context)
        except Exception as error:  # noqa: BLE001 - nothing passes unmapped
            await fail(context, error, path)

    return replies if inspect.isasyncgenfunction(answer) else reply


async def fail(context: Context, error: Exception, path: str) -> NoReturn:
    """End the call of a handler that raised; an error that comes of the call's own end stays what it is."""
    if isinstance(error, AbortError) or context.done():
        raise error
    given = texts(context.invocation_metadata() or ())
    line = CallLine(path, request_id(given.get(REQUEST_ID, "")), trace_id_of(given))
    await abort(context, report(error, line), line.request_id)
    raise AssertionError("abort raises")  # pragma: no cover


def parsing(kind: type[Message]) -> Callable[[bytes], Message]:
    """What gRPC makes messages of that kind with. Raises InvalidRequest or Overloaded."""

    def parse(body: bytes) -> Message:
        try:
            return kind.FromString(body)
        except DecodeError as error:
            raise not_parsed(body, kind, error) from error

    return parse


def not_parsed(body: bytes, kind: type[Message], error: DecodeError) -> InvalidRequest | Overloaded:
    """What is told of bytes that are no message of that kind, or that protobuf had no memory for."""
    if NO_MEMORY in str(error):
        return Overloaded(f"no memory to take up a message of {len(body)} bytes")
    return InvalidRequest(
        "MALFORMED_PROTOBUF", field="message", came=f"{len(body)} bytes that do not parse",
        accepted=f"a protobuf {kind.DESCRIPTOR.full_name}",
    )  # fmt: skip
