"""The client's streams against a live gateway: what both twins do, and how each is left early."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from seqserve.client import AsyncClient, Client, DeadlineExceeded, InvalidRequest, NotFound, Unavailable
from seqserve.gateway import Gateway
from seqserve.grpc_api.streams import MAX_IN_FLIGHT
from support.asking import Asking
from support.engines import FakeEngine, expected_answers
from support.running import until

IMAGE = np.full((2, 3), 0.25, np.float32)
TOO_BRIGHT = np.full((2, 3), 7.0, np.float32)


def queued(gateway: Gateway) -> int:
    return gateway.repository.resolve("tiny", "").batcher.queued_examples


def address(gateway: Gateway) -> str:
    return f"127.0.0.1:{gateway.grpc_port}"


@pytest.fixture
async def client(gateway: Gateway, twin: Any) -> AsyncIterator[Asking]:
    async with twin(address(gateway)) as asking:
        yield asking


async def test_every_item_has_its_own_answer(client: Asking) -> None:
    images = np.random.default_rng(0).random((600, 2, 3), np.float32)  # more than may be in flight
    streamed = await client.stream(iter(images), model="tiny", request_id="order-7")

    assert streamed.error is None
    assert sorted(reply.index for reply in streamed.replies) == list(range(600))
    for item in streamed.replies:
        reply = item.result()
        assert reply.receipt.request_id == f"order-7.{item.index}"
        [answer] = reply.answers
        np.testing.assert_array_equal([answer.values], expected_answers(images[[item.index]], 2))


async def test_an_items_error_is_a_value_and_the_stream_goes_on(client: Asking) -> None:
    streamed = await client.stream([IMAGE, TOO_BRIGHT, IMAGE], model="tiny")

    assert streamed.error is None
    by_index = {reply.index: reply for reply in streamed.replies}
    assert by_index[0].result().model == by_index[2].result().model == "tiny"
    refused = by_index[1].error
    assert isinstance(refused, InvalidRequest)
    assert (refused.reason, refused.field, by_index[1].reply) == ("OUT_OF_RANGE", "image", None)
    with pytest.raises(InvalidRequest, match="0 to 1"):
        by_index[1].result()


async def test_an_unknown_model_is_an_error_of_every_item(client: Asking) -> None:
    streamed = await client.stream([IMAGE, IMAGE], model="nobody")

    assert streamed.error is None
    assert [type(reply.error) for reply in streamed.replies] == [NotFound, NotFound]


@pytest.mark.parametrize("wrong", [ValueError("no more"), IMAGE.astype(np.float64)], ids=["raised", "dtype"])
async def test_what_the_source_raises_comes_after_the_replies_to_what_it_gave(
    client: Asking, wrong: Any
) -> None:
    def source() -> Iterator[Any]:
        yield IMAGE
        if isinstance(wrong, Exception):
            raise wrong
        yield wrong

    streamed = await client.stream(source(), model="tiny")

    assert [reply.index for reply in streamed.replies] == [0]
    if isinstance(wrong, Exception):
        assert streamed.error is wrong
    else:
        assert isinstance(streamed.error, TypeError)


async def test_nothing_in_is_nothing_out(client: Asking) -> None:
    assert await client.stream([], model="tiny") == ([], None)


async def test_the_deadline_of_a_stream_ends_it(client: Asking, engine: FakeEngine) -> None:
    engine.hold()
    streamed = await client.stream([IMAGE], model="tiny", timeout_seconds=0.2)
    engine.gate.set()

    errors = [streamed.error, *(reply.error for reply in streamed.replies)]  # whichever comes first
    assert [error for error in errors if error is not None]
    assert all(isinstance(error, DeadlineExceeded) for error in errors if error is not None)


async def test_a_gateway_that_stops_ends_the_stream_after_what_it_took(
    client: Asking, gateway: Gateway, engine: FakeEngine
) -> None:
    over = threading.Event()

    def source() -> Iterator[Any]:
        yield IMAGE
        over.wait(20)  # a stream that stays open

    engine.hold()
    # The aio twin would run this source on the gateway's own loop; so it runs in a thread's.
    streaming = asyncio.create_task(asyncio.to_thread(_streamed, client, gateway, source()))
    await engine.entered.wait()
    draining = asyncio.create_task(gateway.drain())
    await asyncio.sleep(0)
    engine.gate.set()
    await draining
    over.set()
    streamed = await streaming

    assert [reply.result().model for reply in streamed.replies] == ["tiny"]
    assert isinstance(streamed.error, Unavailable)
    assert streamed.error.reason == "SHUTTING_DOWN"
    assert streamed.error.retry_after_seconds > 0


def _streamed(client: Any, gateway: Gateway, source: Iterator[Any]) -> Any:
    async def stream() -> Any:
        async with type(client)(address(gateway)) as other:
            return await other.stream(source, model="tiny")

    return asyncio.run(stream())


async def test_who_leaves_a_loop_early_leaves_nothing_behind(gateway: Gateway, engine: FakeEngine) -> None:
    is_closed = False

    async def source() -> AsyncIterator[Any]:
        nonlocal is_closed
        try:
            while True:
                yield IMAGE
        finally:
            is_closed = True

    async with AsyncClient(address(gateway)) as client:
        await client.predict(IMAGE, model="tiny")
        before = len(asyncio.all_tasks())
        async with aclosing(client.stream(source(), model="tiny")) as replies:
            async for reply in replies:
                assert reply.reply is not None
                engine.hold()
                break
        await until(lambda: queued(gateway) == 0)
        engine.gate.set()
        await until(lambda: len(asyncio.all_tasks()) <= before)

    assert is_closed


async def test_who_closes_the_iterator_cancels_what_is_in_flight(
    gateway: Gateway, engine: FakeEngine
) -> None:
    with Client(address(gateway)) as client:
        replies = client.stream(itertools.repeat(IMAGE), model="tiny")
        await asyncio.to_thread(next, replies)
        engine.hold()
        await until(lambda: queued(gateway) > MAX_IN_FLIGHT // 2)
        await asyncio.to_thread(replies.close)
        await until(lambda: queued(gateway) == 0)
        engine.gate.set()
        assert (await asyncio.to_thread(client.predict, IMAGE, model="tiny")).answers


async def test_a_source_may_be_asynchronous(gateway: Gateway) -> None:
    async def source() -> AsyncIterator[Any]:
        for _ in range(3):
            await asyncio.sleep(0)
            yield [b"no picture"]

    async with AsyncClient(address(gateway)) as client:
        replies = [reply async for reply in client.stream(source(), model="tiny")]

    assert sorted(reply.index for reply in replies) == [0, 1, 2]
    assert all(isinstance(reply.error, InvalidRequest) for reply in replies)
