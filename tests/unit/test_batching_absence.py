"""The micro-batcher while its engine is away for a while."""

from __future__ import annotations

import asyncio

from seqserve.errors import DeadlineExceeded, EngineUnavailable, ShuttingDown
from support.batching import Setup, results, settle


async def test_who_waits_and_who_comes_is_told_at_once_and_worth_a_retry(setup: Setup) -> None:
    bench = setup()
    busy = await bench.call("busy")
    waiting = [await bench.call(name, within=30.0) for name in "ab"]
    bench.batcher.pause()
    await settle()
    coming = await bench.call("c", examples=3, within=30.0)

    for caller in (*waiting, coming):
        error = caller.exception()
        assert isinstance(error, EngineUnavailable)
        assert error.retry_after_seconds > 0
    assert not busy.done(), "it has the engine's own answer to come"
    assert bench.notes.drops == [("away", 1), ("away", 1)]
    assert bench.notes.refusals == [("away", 3)]
    assert bench.batcher.queued_examples == 0
    await bench.answer()
    assert results(busy) == ["busy!"]


async def test_a_request_that_is_partly_in_a_batch_fails_as_a_whole(setup: Setup) -> None:
    bench = setup(batch=2)
    caller = await bench.call("a", "b", examples=2)
    bench.batcher.pause()
    await settle()
    assert isinstance(caller.exception(), EngineUnavailable)
    await bench.answer()

    assert bench.engine.batches == [["a"]]
    assert bench.notes.drops == [("away", 2)]


async def test_it_serves_again_after_it_is_back(setup: Setup) -> None:
    bench = setup()
    bench.batcher.pause()
    bench.batcher.pause()
    await bench.call("a")
    bench.batcher.resume()
    caller = await bench.call("b")
    await bench.answer()

    assert results(caller) == ["b!"]
    assert bench.engine.batches == [["b"]]


async def test_a_batch_that_waits_for_a_slot_or_for_more_is_not_run_for_nobody(setup: Setup) -> None:
    bench = setup(delay=1.0)
    await bench.slots.acquire()
    await bench.call("a", examples=4)
    later = setup(delay=1.0)
    await later.call("a")
    for paused in (bench, later):
        paused.batcher.pause()
        await settle()
    bench.slots.release()
    later.clock.advance(1.0)
    await settle()

    assert bench.engine.batches == later.engine.batches == []
    assert not bench.slots.locked()
    bench.batcher.resume()
    caller = await bench.call("b", examples=4)
    await bench.answer()
    assert results(caller) == ["b!"]


async def test_an_overdue_batch_and_an_absence_both_have_to_end(setup: Setup) -> None:
    bench = setup(longest=1.0)
    late = await bench.call("a")
    bench.clock.advance(1.0)
    await settle()
    bench.batcher.pause()
    assert isinstance(late.exception(), DeadlineExceeded)
    bench.batcher.resume()
    assert isinstance((await bench.call("b")).exception(), EngineUnavailable), "the batch still hangs"
    bench.batcher.pause()
    await bench.answer()
    assert isinstance((await bench.call("c")).exception(), EngineUnavailable), "the engine is still away"
    bench.batcher.resume()
    caller = await bench.call("d")
    await bench.answer()

    assert results(caller) == ["d!"]


async def test_what_is_closed_while_it_is_away_ends_and_stays_closed(setup: Setup) -> None:
    bench = setup()
    await bench.call("a")
    bench.batcher.pause()
    closing = asyncio.create_task(bench.batcher.aclose())
    await settle()
    await bench.answer()
    await closing
    bench.batcher.resume()

    assert isinstance((await bench.call("b")).exception(), ShuttingDown)
