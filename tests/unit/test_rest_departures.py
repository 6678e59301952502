"""Callers who leave: their work is cancelled, or not begun at all."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from seqserve.errors import ModelNotFound
from seqserve.http_api.departures import CallerLeftError, unless_left


class Caller:
    """What an ASGI server tells of one."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self) -> MutableMapping[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}


class Work:
    """Runs until `done`; notes how it ended."""

    def __init__(self) -> None:
        self.started, self.done = asyncio.Event(), asyncio.Event()
        self.ended = ""

    async def run(self) -> str:
        self.started.set()
        try:
            await self.done.wait()
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise
        return "the answer"


@pytest.fixture
async def caller() -> Caller:
    return Caller()


@pytest.fixture
async def work() -> Work:
    return Work()


async def test_who_waits_gets_the_answer(caller: Caller, work: Work) -> None:
    work.done.set()
    assert await unless_left(work.run(), caller.receive) == "the answer"


async def test_who_waits_gets_the_error(caller: Caller) -> None:
    async def fail() -> None:
        raise ModelNotFound("nobody")

    with pytest.raises(ModelNotFound):
        await unless_left(fail(), caller.receive)


async def test_who_leaves_ends_the_work(caller: Caller, work: Work) -> None:
    answering = asyncio.create_task(unless_left(work.run(), caller.receive))
    await work.started.wait()
    caller.left.set()
    with pytest.raises(CallerLeftError):
        await answering
    assert work.ended == "cancelled"


async def test_for_who_has_left_nothing_begins(caller: Caller, work: Work) -> None:
    caller.left.set()
    with pytest.raises(CallerLeftError):
        await unless_left(work.run(), caller.receive)
    assert not work.started.is_set()


async def test_a_cancelled_answer_ends_the_work(caller: Caller, work: Work) -> None:
    answering = asyncio.create_task(unless_left(work.run(), caller.receive))
    await work.started.wait()
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    assert work.ended == "cancelled"
