"""Answers the calls of the native server that are Python's, with the handlers that grpc.aio would use."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import grpc
import structlog
from grpc.aio import AbortError

from seqserve.grpc_api.boundary import Handler
from seqserve.grpc_api.mapped import fail
from seqserve.grpc_api.streams import Context
from seqserve.native_front.context import CallContext, CallOver, Lifetime

if TYPE_CHECKING:
    from seqserve.native_front._native import Call, Metadata

log = structlog.get_logger()

NO_METHOD = "Method not found!"
"""In gRPC's own words."""
NO_MESSAGE = "message: none came; accepted: one"


class Details(NamedTuple):
    """Of a call, as grpc.HandlerCallDetails has them."""

    method: str
    invocation_metadata: Metadata


@dataclass(slots=True)
class _Running:
    """A call that is not over. task: what answers it."""

    context: CallContext
    task: asyncio.Task[None]


class Calls:
    """All that are under way; used on the event loop. never: a deadline that nobody has.

    Each call is answered in a task of its own, in which its handler is chosen as well: what a handler
    leaves in context variables belongs to that call.
    """

    def __init__(self, handlers: Sequence[Handler], never: int) -> None:
        self._handlers = tuple(handlers)
        self._never = never
        self._running: dict[int, _Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many are not over."""
        return len(self._running)

    def news(self) -> dict[str, Callable[..., None]]:
        """Who takes which news of the desk."""
        return {
            "called": self._called,
            "message": self._message,
            "written": self._written,
            "over": self._over,
        }

    async def aclose(self) -> None:
        """Cancel what is left, once the server is stopped; return when every task has ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._running.clear()

    def _called(
        self, call: Call, path: str, metadata: Metadata, timeout_ns: int, message: bytes | None
    ) -> None:
        context = CallContext(call, metadata, Lifetime(timeout_ns, self._never), message)
        task = asyncio.get_running_loop().create_task(self._answer(context, path), name=path)
        self._running[call.id] = _Running(context, task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _message(self, call_id: int, body: bytes | None) -> None:
        if found := self._running.get(call_id):
            found.context.note_message(body)

    def _written(self, call_id: int, is_written: bool) -> None:  # noqa: FBT001 - as the news come
        if found := self._running.get(call_id):
            found.context.note_written(is_written=is_written)

    def _over(self, call_id: int, _is_cancelled: bool) -> None:  # noqa: FBT001 - as the news come
        """Whoever waits hears of it first, so that a reader ends by itself; then its handler is cancelled."""
        found = self._running.pop(call_id, None)
        if found is None:
            return
        found.context.note_over()
        if not found.context.is_finished:
            found.task.cancel()

    async def _answer(self, context: CallContext, path: str) -> None:
        """Run a call's handler; whatever comes of it, the call ends. Raises CancelledError."""
        try:
            await self._handle(context, path)
        except (AbortError, CallOver):
            pass
        except asyncio.CancelledError:
            context.finish(grpc.StatusCode.CANCELLED.value[0], "")
            raise
        except Exception as error:
            if context.done():
                log.exception("a handler failed after the end of its call", method=path)
                return
            with suppress(AbortError):
                await fail(cast("Context", context), error, path)

    async def _handle(self, context: CallContext, path: str) -> None:
        handler = self._find(Details(path, context.invocation_metadata()))
        if handler is None:
            context.finish(grpc.StatusCode.UNIMPLEMENTED.value[0], NO_METHOD)
            return
        context.parse, context.serialize = handler.request_deserializer, handler.response_serializer
        if handler.request_streaming:
            await _stream(handler.stream_stream, context.messages(), context)
        elif (body := await context.next_body()) is None:
            context.finish(grpc.StatusCode.INVALID_ARGUMENT.value[0], NO_MESSAGE)
        elif handler.response_streaming:
            await _stream(handler.unary_stream, _parsed(body, context), context)
        else:
            context.reply(await handler.unary_unary(_parsed(body, context), context))

    def _find(self, details: Details) -> Any:
        found = (handler.service(details) for handler in self._handlers)  # type: ignore[arg-type]
        return next((handler for handler in found if handler is not None), None)


def _parsed(body: bytes, context: CallContext) -> Any:
    return body if context.parse is None else context.parse(body)


async def _stream(answer: Callable[..., Any], request: Any, context: CallContext) -> None:
    """Run a handler that writes its replies, or one that yields them."""
    answering = answer(request, context)
    if inspect.isasyncgen(answering):
        async for reply in answering:
            await context.write(reply)
    else:
        await answering
    context.finish()
