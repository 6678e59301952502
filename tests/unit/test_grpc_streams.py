"""A stream of the Python front, with a context that is none of gRPC's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from seqserve.grpc_api.streams import Stream


class Context:
    """Gives one message; a write, and the read that follows, last until the call is over."""

    def __init__(self) -> None:
        self.over = asyncio.get_running_loop().create_future()
        self.written: list[bytes] = []
        self.interrupted: list[bytes] = []
        self._messages = [b"question"]

    async def read(self) -> Any:
        if self._messages:
            return self._messages.pop()
        await asyncio.shield(self.over)
        return b""

    async def write(self, reply: bytes) -> None:
        try:
            await asyncio.shield(self.over)
        except asyncio.CancelledError:
            self.interrupted.append(reply)
            raise
        self.written.append(reply)


async def answer(message: bytes, _number: int) -> bytes:
    return b"answer to a " + message


async def no_end() -> None:
    raise AssertionError("nobody drains it")


async def test_a_write_is_not_cancelled_with_its_call() -> None:
    context = Context()
    call = asyncio.create_task(Stream(context, answer).run(no_end))  # type: ignore[arg-type]
    for _ in range(10):
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.sleep(0)
    context.over.set_result(None)
    with pytest.raises(asyncio.CancelledError):
        await call
    assert context.written == [b"answer to a question"]
    assert not context.interrupted
