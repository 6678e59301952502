"""What a handler sees of a call that came over the native front, as it would see it under grpc.aio."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import grpc
from grpc.aio import EOF, AbortError, UsageError  # type: ignore[attr-defined]  # the stubs leave them out

if TYPE_CHECKING:
    from seqserve.native_front._native import Call, Metadata

OK = 0
ABORTED = "Locally aborted."
"""In grpc.aio's own words."""
_NS = 1_000_000_000


class CallOver(Exception):
    """Nothing can be written any more: the call ended before its answer did."""


class Lifetime:
    """When a call has to be over. timeout_ns: from now on; `never`: there is no such time."""

    __slots__ = ("_deadline",)

    def __init__(self, timeout_ns: int, never: int) -> None:
        self._deadline = None if timeout_ns >= never else time.monotonic_ns() + timeout_ns

    def remaining_seconds(self) -> float | None:
        """None for a caller who set no deadline."""
        if self._deadline is None:
            return None
        return max(self._deadline - time.monotonic_ns(), 0) / _NS


class CallContext:
    """One call's. It is used on the event loop, which also brings what comes from the native side.

    parse, serialize: of the handler's messages, None for bytes. One read and one write at a time.
    """

    def __init__(self, call: Call, metadata: Metadata, lifetime: Lifetime, message: bytes | None) -> None:
        self.parse: Callable[[bytes], Any] | None = None
        self.serialize: Callable[[Any], bytes] | None = None
        self.is_over = False
        self.is_finished = False
        self._call = call
        self._metadata = tuple(metadata)
        self._lifetime = lifetime
        self._trailing: Metadata = ()
        self._is_aborted = False
        self._unread: deque[bytes | None] = deque() if message is None else deque([message])
        self._is_reading = False
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[bool] | None = None

    def invocation_metadata(self) -> Metadata:
        """Pairs; keys that end in `-bin` have bytes."""
        return self._metadata

    def time_remaining(self) -> float | None:
        """Seconds, None where the caller set no deadline."""
        return self._lifetime.remaining_seconds()

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """For the end of the call."""
        self._trailing = tuple(metadata)

    def done(self) -> bool:
        """Whether the call's status is sent, or nobody waits for one."""
        return self.is_finished or self.is_over

    async def read(self) -> Any:
        """The next message, EOF once the caller has sent all or left."""
        self._go_on()
        body = await self.next_body()
        self._go_on()
        if body is None:
            return EOF
        return body if self.parse is None else self.parse(body)

    async def next_body(self) -> bytes | None:
        """The next message's bytes. One whose reader was cancelled is the next one's."""
        while not self._unread:
            if self.is_over:
                return None
            if not self._is_reading:
                self._is_reading = True
                self._call.read()
            self._reading = asyncio.get_running_loop().create_future()
            await self._reading
        if self._unread[0] is None:  # it is the last, however often somebody asks
            return None
        return self._unread.popleft()

    async def messages(self) -> AsyncIterator[Any]:
        """All there are."""
        while (message := await self.read()) is not EOF:
            yield message

    async def write(self, message: Any) -> None:
        """Send a reply; return once there is room for the next. Raises CallOver."""
        self._go_on()
        if self.is_over:
            raise CallOver
        self._writing = asyncio.get_running_loop().create_future()
        self._call.write(message if self.serialize is None else self.serialize(message))
        if not await self._writing:
            raise CallOver

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> None:
        """End the call with that status; raises AbortError."""
        if self._is_aborted:
            raise UsageError("Abort already called!")
        self._is_aborted = True
        self._trailing = tuple(trailing_metadata) or self._trailing
        self.finish(code.value[0], details)
        raise AbortError(ABORTED)  # not kept: its traceback holds this context, and what the caller sent

    def reply(self, message: Any) -> None:
        """The one reply of a unary call."""
        self._go_on()
        body = message if self.serialize is None else self.serialize(message)
        if not self.done():
            self.is_finished = True
            self._call.reply(body, self._trailing)

    def finish(self, code: int = OK, words: str = "") -> None:
        """The end of any call; a second one does nothing."""
        if not self.done():
            self.is_finished = True
            self._call.finish(code, words, self._trailing)

    def note_message(self, body: bytes | None) -> None:
        """What was to be read is here."""
        self._is_reading = False
        self._unread.append(body)
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(None)

    def note_written(self, *, is_written: bool) -> None:
        """A write is done."""
        if self._writing is not None and not self._writing.done():
            self._writing.set_result(is_written)

    def note_over(self) -> None:
        """Nothing of the call is to come: who reads hears of its end, who writes that it is in vain."""
        self.is_over = True
        self.note_message(None)
        self.note_written(is_written=False)

    def _go_on(self) -> None:
        """A handler that has kept an abort to itself ends here."""
        if self._is_aborted:
            raise AbortError(ABORTED)
