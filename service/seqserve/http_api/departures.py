"""Callers who leave before their answer: whatever was being done for them is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

T = TypeVar("T")


class CallerLeftError(Exception):
    """Nobody waits for the answer any more."""


async def unless_left(work: Coroutine[Any, Any, T], receive: Receive) -> T:
    """Do the work, or cancel it once its caller is gone, before it starts where possible.

    receive: of a request whose body has been read. Raises CallerLeftError, or what the work raises.
    """
    leaving = asyncio.ensure_future(_disconnected(receive))
    await asyncio.sleep(0)  # who has left already is noticed here
    if leaving.done():
        work.close()
        raise CallerLeftError
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CallerLeftError
        return await working
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
