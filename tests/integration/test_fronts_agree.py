"""The native front and the Python front, asked the same: what they answer differs in nothing but times."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from seqserve.native_front import library
from support.anything import INFER, STREAM, Anything, Asked
from support.two_fronts import plain, trailing, two_fronts

pytestmark = pytest.mark.skipif(bool(library.why_not()), reason=library.why_not())

SEEDS = range(4)
CALLS = 600
AT_ONCE = 16
STREAMS = 12
MESSAGES = 40
NEW_ID = re.compile(r"[0-9a-f]{32}")
Channels = Sequence[grpc.aio.Channel]
LIMITS: dict[str, Any] = {
    "max_request_examples": 8,
    "models": {"tiny": {"labels": {"stable": "1"}}},
}


@pytest.fixture
async def fronts(tmp_path: Path) -> AsyncIterator[Channels]:
    """The Python front and the native one, over the same two versions."""
    async with two_fronts(tmp_path, **LIMITS) as both:
        yield [front.channel for front in both]


@pytest.mark.parametrize("seed", SEEDS)
async def test_unary_calls_are_answered_alike(fronts: Channels, seed: int) -> None:
    anything = Anything(seed)
    calls = [anything.unary() for _ in range(CALLS)]
    room = asyncio.Semaphore(AT_ONCE)
    python, native = [
        await asyncio.gather(*(outcome(channel, asked, room) for asked in calls)) for channel in fronts
    ]
    for asked, expected, got in zip(calls, python, native, strict=True):
        assert got == expected, f"{asked.path} with {asked.body!r}"
    codes = Counter(expected[0] for expected in python)
    assert codes["OK"] > CALLS / 5, codes
    assert codes["INVALID_ARGUMENT"] > CALLS / 20, codes
    assert codes["NOT_FOUND"] > CALLS / 100, codes


async def outcome(channel: grpc.aio.Channel, asked: Asked, room: asyncio.Semaphore) -> Any:
    """(code, what came, trailing metadata), without what differs from call to call."""
    async with room:
        call = channel.unary_unary(asked.path, None, None)(
            asked.body, metadata=(("x-request-id", asked.request_id),), timeout=60
        )
        try:
            reply = await call
        except grpc.aio.AioRpcError as error:
            return error.code().name, error.details(), trailing(error.trailing_metadata())
        return "OK", plain(asked.path, reply), trailing(await call.trailing_metadata())


@pytest.mark.parametrize("seed", SEEDS)
async def test_streams_are_answered_alike(fronts: Channels, seed: int) -> None:
    anything = Anything(seed)
    for number in range(STREAMS):
        messages = [anything.message().body for _ in range(MESSAGES)]
        python, native = [await stream(channel, f"stream-{number}", messages) for channel in fronts]
        expected, got = Counter(python[0]), Counter(native[0])
        assert (got - expected, expected - got) == (Counter(), Counter())
        assert native[1:] == python[1:]


async def stream(channel: grpc.aio.Channel, request_id: str, messages: Sequence[bytes]) -> Any:
    """(replies in no order, since that is not promised; code; trailing metadata)."""
    metadata = (("x-request-id", request_id),)
    call = channel.stream_stream(STREAM, None, None)(iter(messages), metadata=metadata, timeout=60)
    replies = [json.dumps(plain(STREAM, reply), sort_keys=True) async for reply in call]
    return sorted(replies), (await call.code()).name, trailing(await call.trailing_metadata())


async def test_a_caller_without_an_id_is_given_one(fronts: Channels) -> None:
    anything = Anything(0, wrong=0)
    for channel in fronts:
        for given in ((), (("x-request-id", "no good"),)):
            call = channel.unary_unary(INFER, None, None)(anything.unary().body, metadata=given)
            found = trailing(await call.trailing_metadata())
            assert [key for key, value in found if NEW_ID.fullmatch(str(value))] == ["x-request-id"]
