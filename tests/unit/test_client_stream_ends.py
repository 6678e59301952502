"""Streams that end while a message is written: the gateway's status counts, whenever gRPC hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import grpc
import pytest

from seqserve.client import stream_ends
from seqserve.client.stream_ends import UNWRITTEN, StreamEnd

OWN = (grpc.StatusCode.UNAUTHENTICATED, "no token")
LOST = (grpc.StatusCode.INTERNAL, UNWRITTEN)


class Call:
    """A call whose status is set, and set anew, as grpc.aio does it."""

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callback = callback

    def end(self, status: tuple[grpc.StatusCode, str]) -> grpc.aio.AioRpcError:
        self._status = status
        self._callback(self)
        return grpc.aio.AioRpcError(status[0], grpc.aio.Metadata(), grpc.aio.Metadata(), status[1], None)

    async def code(self) -> grpc.StatusCode:
        return self._status[0]

    async def details(self) -> str:
        return self._status[1]

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata(("x-request-id", "mine"))


async def test_a_status_that_came_before_the_failed_write_is_kept() -> None:
    call = Call()
    end = StreamEnd(call)
    call.end(OWN)
    found = await end.behind(call.end(LOST))
    assert (found.code(), found.details()) == OWN
    assert dict(cast("Any", found).trailing_metadata()) == {"x-request-id": "mine"}


async def test_a_status_that_comes_after_the_failed_write_is_waited_for() -> None:
    call = Call()
    end = StreamEnd(call)
    asking = asyncio.create_task(end.behind(call.end(LOST)))
    await asyncio.sleep(0)
    call.end(OWN)
    assert (await asking).code() is OWN[0]


async def test_where_none_comes_the_failed_write_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_ends, "STATUS_SECONDS", 0.01)
    call = Call()
    end = StreamEnd(call)
    lost = call.end(LOST)
    assert await end.behind(lost) is lost


async def test_any_other_error_is_told_as_it_is() -> None:
    call = Call()
    end = StreamEnd(call)
    own = call.end(OWN)
    assert await end.behind(own) is own
