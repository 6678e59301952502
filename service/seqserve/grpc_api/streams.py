"""One bidirectional stream: messages in, an answer to each, in the order in which they are ready.

It knows bytes only. A read of grpc.aio is never cancelled while its call lives: gRPC would go on to
write into memory that Python has freed. Nor is a write, whose message would never be freed. So reader and
writer end by themselves, when gRPC ends the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from grpc.aio import EOF  # type: ignore[attr-defined]  # the stubs leave it out

MAX_IN_FLIGHT = 256

# Quoted: generic for type checkers only.
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


@dataclass(frozen=True, slots=True)
class LastReply:
    """A reply after which no more messages are taken."""

    body: bytes


Answer = Callable[[bytes, int], Awaitable[bytes | LastReply]]
"""(message, its running number) → reply. It raises nothing but CancelledError."""
End = Callable[[], Awaitable[None]]
"""Aborts the call of a stream that was drained, or had a LastReply."""


class Streams:
    """Those that are open, to end them together."""

    def __init__(self) -> None:
        self._open: set[Stream] = set()
        self._is_draining = False

    async def run(self, context: Context, answer: Answer, end: End) -> None:
        """Serve a stream to its end."""
        stream = Stream(context, answer)
        self._open.add(stream)
        if self._is_draining:  # gRPC had taken the call before it was told to stop
            stream.drain()
        try:
            await stream.run(end)
        finally:
            self._open.discard(stream)

    def drain(self) -> None:
        """End each stream once it has answered what it has taken."""
        self._is_draining = True
        for stream in self._open:
            stream.drain()


class Stream:
    """Reads, answers and writes until the caller has sent all, leaves, or `drain` is called.

    A message is in flight from its reading until its reply is written; with MAX_IN_FLIGHT of them
    reading stops, so that a caller who reads no replies is held back by gRPC's flow control.
    """

    def __init__(self, context: Context, answer: Answer) -> None:
        self._context = context
        self._answer = answer
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._replies: asyncio.Queue[bytes | None] = asyncio.Queue()  # None: there will be no more
        self._in_flight: set[asyncio.Task[None]] = set()
        self._draining: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, end: End) -> None:
        """Serve the stream to its end."""
        reader, writer = asyncio.create_task(self._read()), asyncio.create_task(self._write())
        ends: set[asyncio.Future[Any]] = {reader, writer, self._draining}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            while self._in_flight:  # the reader may still be reading one
                await asyncio.wait(self._in_flight)
            self._replies.put_nowait(None)
            await asyncio.shield(writer)
            if not (reader.done() and await reader):
                await end()
        finally:
            self.drain()
            for task in self._in_flight:
                task.cancel()
            self._write_no_more()
            await asyncio.gather(reader, writer, *self._in_flight, return_exceptions=True)

    def drain(self) -> None:
        """Take no more messages and let those in flight finish."""
        if not self._draining.done():
            self._draining.set_result(None)
            self._slots.release()  # a reader that waits for one

    async def _read(self) -> bool:
        """Whether the caller has sent all; False in a drain."""
        number = 0
        while await self._slots.acquire() and not self._draining.done():
            body = await self._context.read()
            if body is EOF:
                return True
            number += 1
            task = asyncio.create_task(self._serve(body, number))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)
        return False

    async def _serve(self, body: bytes, number: int) -> None:
        reply = await self._answer(body, number)
        if isinstance(reply, LastReply):
            self.drain()
            reply = reply.body
        self._replies.put_nowait(reply)

    def _write_no_more(self) -> None:
        while not self._replies.empty():
            self._replies.get_nowait()
        self._replies.put_nowait(None)

    async def _write(self) -> None:
        while (reply := await self._replies.get()) is not None:
            await self._context.write(reply)
            self._slots.release()
