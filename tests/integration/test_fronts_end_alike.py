"""Callers who wait for a version that ends are told the same by the native front and the Python front."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import grpc
import numpy as np
import pytest

from seqserve.errors import EngineUnavailable
from seqserve.native_front import library
from support.anything import INFER, STREAM
from support.oip import infer_request
from support.two_fronts import Front, plain, trailing, two_fronts

pytestmark = pytest.mark.skipif(bool(library.why_not()), reason=library.why_not())

REQUEST = infer_request(np.full((1, 6), 0.5, np.float32)).SerializeToString()
METADATA = (("x-request-id", "waiting"),)


async def test_callers_hear_that_the_engine_is_gone(tmp_path: Path) -> None:
    async with two_fronts(tmp_path) as fronts:
        python, native = [await heard_of(front) for front in fronts]
    assert native == python
    (code, words, _), messages = python
    assert (code, words) == (grpc.StatusCode.UNAVAILABLE, "the engine is gone")
    assert [message["error_message"] for message in messages] == ["the engine is gone"]


async def until_one_waits(front: Front) -> None:
    entries = front.gateway.repository.versions()
    while not any(entry.ready and entry.ready.batcher.queued_examples for entry in entries):  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def heard_of(front: Front) -> tuple[Any, Sequence[Any]]:
    """What a unary call (code, words, trailing metadata) and a stream (messages) hear that are computed then."""
    front.engine.hold()
    unary = front.channel.unary_unary(INFER, None, None)(REQUEST, metadata=METADATA)
    await front.engine.entered.wait()
    stream = front.channel.stream_stream(STREAM, None, None)(metadata=METADATA)  # type: ignore[call-arg]
    await stream.write(REQUEST)
    await until_one_waits(front)
    await front.gateway.repository.lose_engine(EngineUnavailable("the engine is gone"))
    message = plain(STREAM, cast(bytes, await stream.read()))
    await stream.done_writing()
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await unary
    front.engine.gate.set()
    return (ended.value.code(), ended.value.details(), trailing(ended.value.trailing_metadata())), [message]
