"""How a stream of grpc.aio ended: gRPC itself forgets it where a message was still being written."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import grpc

UNWRITTEN = "Internal error from Core"
"""What gRPC puts in a status's place, before that comes or after, where a message could not be written."""
STATUS_SECONDS = 1.0
"""For the status to come: it is on its way, or the connection is gone and nothing will come."""


class StreamEnd:
    """Keeps a call's status from the moment when it comes. To be made with the call."""

    def __init__(self, call: Any) -> None:
        self._heard = asyncio.Event()
        self._own: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._note)

    def _note(self, call: Any) -> None:
        """Called for each status that gRPC sets."""
        details = _at_once(call.details())
        if details != UNWRITTEN:
            code, trailing = _at_once(call.code()), _at_once(call.trailing_metadata())
            self._own = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details, None)
            self._heard.set()

    async def behind(self, error: grpc.RpcError) -> grpc.RpcError:
        """How the gateway ended the call, where `error` only says that a message was not written."""
        if error.details() != UNWRITTEN:
            return error
        with suppress(TimeoutError):
            async with asyncio.timeout(STATUS_SECONDS):
                await self._heard.wait()
        return self._own or error


def _at_once(answer: Coroutine[Any, Any, Any]) -> Any:
    """What a call that is done answers; a task of its own would come too late, after the next status."""
    try:
        answer.send(None)
    except StopIteration as ended:
        return ended.value
    answer.close()
    raise RuntimeError("a call that is done would have to be waited for")
