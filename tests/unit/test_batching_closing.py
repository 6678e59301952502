"""How the micro-batcher ends: closing, aborting, and an event loop that shuts down."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from seqserve.batching.batcher import Batcher, BatchLimits, Part
from seqserve.errors import EngineUnavailable, ShuttingDown
from support.batching import FakeClock, FakeEngine, Setup, results, settle


async def test_closing_finishes_what_is_queued_and_takes_nothing_new(setup: Setup) -> None:
    bench = setup(delay=10.0)
    callers = [await bench.call(name) for name in "ab"]
    closing = asyncio.create_task(bench.batcher.aclose())
    await settle()
    assert isinstance((await bench.call("c")).exception(), ShuttingDown)
    assert not closing.done()
    await bench.answer()
    await closing
    assert [results(caller) for caller in callers] == [["a!"], ["b!"]]
    assert bench.notes.started == [(2, "drain", 0)]
    assert bench.notes.refusals == [("closing", 1)]
    assert bench.clock.pending() == []


async def test_closing_can_be_repeated_and_shared(setup: Setup) -> None:
    bench = setup()
    call = await bench.call("a")
    closings = [asyncio.create_task(bench.batcher.aclose()) for _ in range(2)]
    await settle()
    await bench.answer()
    await asyncio.gather(*closings)
    await bench.batcher.aclose()
    assert call.exception() is None


async def test_closing_an_unused_batcher_is_immediate(setup: Setup) -> None:
    bench = setup()
    await bench.batcher.aclose()
    assert isinstance((await bench.call("a")).exception(), ShuttingDown)


async def test_a_cancelled_closing_answers_everybody(setup: Setup) -> None:
    bench = setup(batch=1)
    callers = [await bench.call(name, within=30.0) for name in "abc"]
    closing = asyncio.create_task(bench.batcher.aclose())
    await settle()
    closing.cancel()
    await settle()
    assert closing.cancelled()
    assert all(isinstance(caller.exception(), ShuttingDown) for caller in callers)
    assert bench.notes.drops == [("aborted", 1), ("aborted", 1)]
    assert bench.clock.pending() == []


async def test_aborting_answers_with_the_given_error(setup: Setup) -> None:
    bench = setup(batch=1)
    callers = [await bench.call(name) for name in "ab"]
    error = EngineUnavailable("the GPU is gone")
    bench.batcher.abort(error)
    await settle()
    assert [caller.exception() for caller in callers] == [error, error]
    assert isinstance((await bench.call("c")).exception(), ShuttingDown)


async def worker_of(*, started: bool) -> asyncio.Task[object]:
    """The task that a batcher made for itself."""
    if started:
        await settle()
    [worker] = [task for task in asyncio.all_tasks() if task.get_name() == "batcher"]
    return worker


@pytest.mark.parametrize("started", [True, False])
async def test_a_cancelled_worker_strands_nobody(setup: Setup, *, started: bool) -> None:
    bench = setup(batch=1)
    callers = [
        asyncio.create_task(bench.batcher.submit([Part(name, 1)], deadline=None)) for name in ("a", "b")
    ]
    bench.callers += callers
    await asyncio.sleep(0)
    (await worker_of(started=started)).cancel()
    await settle()
    assert all(isinstance(caller.exception(), ShuttingDown) for caller in callers)
    assert bench.engine.batches == ([["a"]] if started else [])
    assert not bench.slots.locked()


async def test_aborting_leaves_the_slot_to_the_engines_call_until_that_ends(setup: Setup) -> None:
    slots = asyncio.Semaphore(1)
    bench, other = setup(slots=slots), setup(slots=slots)
    caller = await bench.call("a")
    await other.call("x")
    bench.batcher.abort(EngineUnavailable("unloaded"))
    await settle()
    assert isinstance(caller.exception(), EngineUnavailable)
    assert bench.engine.in_flight is not None, "a thread would run on"
    assert other.engine.batches == []
    await bench.answer()
    assert other.engine.batches == [["x"]]


@pytest.mark.parametrize("how", ["answer", "fail", "give up"])
async def test_an_aborted_batcher_is_over_when_its_last_call_ends(setup: Setup, how: str) -> None:
    bench = setup(longest=1.0)
    caller = await bench.call("a", "b", examples=4)
    error = EngineUnavailable("unloaded")
    bench.batcher.abort(error)
    bench.clock.advance(2.0)
    closing = asyncio.create_task(bench.batcher.aclose())
    await settle()
    assert not closing.done()
    bench.engine.end(how)
    await closing
    assert caller.exception() is error
    assert bench.engine.batches == [["a"]]
    assert bench.notes.overdue == []
    assert not bench.slots.locked()
    assert bench.clock.pending() == []


async def test_aborting_while_it_waits_for_a_slot_gives_up_the_place_in_the_line(setup: Setup) -> None:
    slots = asyncio.Semaphore(1)
    busy, first, second = (setup(slots=slots) for _ in range(3))
    await busy.call("busy")
    caller = await first.call("a")
    await second.call("b")
    first.batcher.abort(EngineUnavailable("unloaded"))
    await first.batcher.aclose()
    assert isinstance(caller.exception(), EngineUnavailable)
    await busy.answer()
    assert (first.engine.batches, second.engine.batches) == ([], [["b"]])


async def test_aborting_at_the_moment_it_is_given_a_slot_passes_the_slot_on(setup: Setup) -> None:
    slots = asyncio.Semaphore(1)
    first, second = setup(slots=slots), setup(slots=slots)
    await slots.acquire()
    await first.call("a")
    await second.call("b")
    slots.release()
    first.batcher.abort(EngineUnavailable("unloaded"))
    await settle()
    assert (first.engine.batches, second.engine.batches) == ([], [["b"]])


async def test_an_engine_that_swallows_a_cancellation_does_not_keep_the_worker_alive() -> None:
    async def run(payloads: Sequence[str]) -> Sequence[str]:
        try:
            return await engine.run(payloads)
        except asyncio.CancelledError:
            if len(engine.batches) > 1:
                raise
            return payloads

    engine = FakeEngine()
    batcher = Batcher(run, BatchLimits(1), slots=asyncio.Semaphore(1), clock=FakeClock())
    callers = [asyncio.create_task(batcher.submit([Part(name, 1)], deadline=None)) for name in "ab"]
    worker = await worker_of(started=True)
    worker.cancel()
    await settle()
    assert worker.done()
    assert results(callers[0]) == ["a"]
    assert isinstance(callers[1].exception(), ShuttingDown)
    assert engine.batches == [["a"]]


def test_an_event_loop_that_shuts_down_ends_everything() -> None:
    faults: list[object] = []
    engine, slots = FakeEngine(), asyncio.Semaphore(1)
    callers: list[asyncio.Task[object]] = []

    async def serve() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        batcher = Batcher(engine.run, BatchLimits(1), slots=slots)
        callers.extend(asyncio.create_task(batcher.submit([Part(name, 1)], deadline=None)) for name in "ab")
        await settle()
        assert engine.batches == [["a"]]

    asyncio.run(serve())
    assert all(caller.cancelled() for caller in callers)
    assert not slots.locked()
    assert faults == []
