"""Answers those messages of native streams that are Python's; the rest of such a stream never comes here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, cast

import grpc
from grpc.aio import AbortError

from seqserve.grpc_api.boundary import Boundary
from seqserve.grpc_api.streams import Context, LastReply
from seqserve.native_front.context import Lifetime

if TYPE_CHECKING:
    from seqserve.native_front._native import Metadata, StreamCall


class StreamContext:
    """What boundary.StreamCall asks of a stream's context."""

    def __init__(self, call: StreamCall, metadata: Metadata, lifetime: Lifetime) -> None:
        self._call = call
        self._metadata = tuple(metadata)
        self._lifetime = lifetime

    def invocation_metadata(self) -> Metadata:
        """Pairs; keys that end in `-bin` have bytes."""
        return self._metadata

    def time_remaining(self) -> float | None:
        """Seconds, None where the caller set no deadline."""
        return self._lifetime.remaining_seconds()

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()
    ) -> NoReturn:
        """End the stream with that status, once what it has taken is answered; raises AbortError."""
        self._call.refuse(code.value[0], details, tuple(trailing_metadata))
        raise AbortError("Locally aborted.")


class NativeStream:
    """One stream's messages, answered as the Python front answers them."""

    def __init__(
        self, boundary: Boundary, call: StreamCall, path: str, metadata: Metadata, lifetime: Lifetime
    ) -> None:
        self._native = call
        context = StreamContext(call, metadata, lifetime)
        self._call = boundary.stream_call(path, cast("Context", context))
        self._answering: set[asyncio.Task[None]] = set()

    def take(self, number: int, body: bytes) -> None:
        """Answer a message."""
        task = asyncio.get_running_loop().create_task(self._answer(number, body))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def cancel(self) -> None:
        """The stream is over."""
        for task in self._answering:
            task.cancel()

    async def aclose(self) -> None:
        """Cancel, and return when nothing of it runs any more."""
        self.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    async def _answer(self, number: int, body: bytes) -> None:
        reply = await self._call.answer(body, number)
        if not isinstance(reply, LastReply):
            self._native.answer(number, reply)
            return
        self._native.answer(number, reply.body)
        with suppress(AbortError):
            await self._call.end()


class NativeStreams:
    """All that are open; used on the event loop. never: a deadline that nobody has."""

    def __init__(self, boundary: Boundary, never: int) -> None:
        self._boundary = boundary
        self._never = never
        self._open: dict[int, NativeStream] = {}

    def __len__(self) -> int:
        """How many had a message for Python and are not over."""
        return len(self._open)

    def news(self) -> dict[str, Callable[..., None]]:
        """Who takes which news of the desk."""
        return {"streamed": self._streamed, "over": self._over}

    async def aclose(self) -> None:
        """Cancel what is left, once the server is stopped."""
        await asyncio.gather(*(stream.aclose() for stream in self._open.values()))
        self._open.clear()

    def _streamed(  # noqa: PLR0917 - as the news come
        self, call: StreamCall, path: str, metadata: Metadata, timeout_ns: int, number: int, message: bytes
    ) -> None:
        stream = self._open.get(call.id)
        if stream is None:
            lifetime = Lifetime(timeout_ns, self._never)
            stream = self._open[call.id] = NativeStream(self._boundary, call, path, metadata, lifetime)
        stream.take(number, message)

    def _over(self, call_id: int, _is_cancelled: bool) -> None:  # noqa: FBT001 - as the news come
        if stream := self._open.pop(call_id, None):
            stream.cancel()
