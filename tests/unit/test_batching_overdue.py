"""The micro-batcher and an engine that does not answer in time."""

from __future__ import annotations

import asyncio

import pytest

from seqserve.errors import DeadlineExceeded, EngineUnavailable, ShuttingDown
from support.batching import Setup, results, settle


async def test_a_batch_that_takes_too_long_answers_its_callers_at_once(setup: Setup) -> None:
    bench = setup(longest=1.0)
    await bench.call("busy")
    callers = [await bench.call(name, examples=2) for name in "ab"]
    await bench.answer(after=0.5)
    bench.clock.advance(0.999)
    await settle()
    assert not any(caller.done() for caller in callers)
    bench.clock.advance(0.001)
    await settle()
    assert all(isinstance(caller.exception(), DeadlineExceeded) for caller in callers)
    assert bench.notes.overdue == [4]
    assert bench.notes.failed == []


async def test_who_waits_behind_an_overdue_batch_is_told_that_the_engine_is_away(setup: Setup) -> None:
    bench = setup(longest=1.0)
    await bench.call("busy")
    waiting = [await bench.call(name, within=30.0) for name in "ab"]
    bench.clock.advance(1.0)
    await settle()
    assert all(isinstance(caller.exception(), EngineUnavailable) for caller in waiting)
    assert bench.notes.drops == [("overdue", 1), ("overdue", 1)]
    assert bench.batcher.queued_examples == 0


async def test_who_comes_during_an_overdue_batch_is_refused_at_once(setup: Setup) -> None:
    bench = setup(longest=1.0)
    await bench.call("busy")
    bench.clock.advance(1.0)
    refused = await bench.call("a", examples=3, within=30.0)
    assert isinstance(refused.exception(), EngineUnavailable)
    assert bench.notes.refusals == [("overdue", 3)]


async def test_a_request_that_is_partly_in_an_overdue_batch_is_late_as_a_whole(setup: Setup) -> None:
    bench = setup(batch=2, longest=1.0)
    caller = await bench.call("a", "b", "c", examples=2)
    await bench.answer()
    bench.clock.advance(1.0)
    await settle()
    assert isinstance(caller.exception(), DeadlineExceeded)
    assert bench.engine.batches == [["a"], ["b"]]
    assert bench.notes.drops == [("overdue", 2)]


async def test_an_overdue_batch_keeps_its_slot_until_the_engines_call_ends(setup: Setup) -> None:
    slots = asyncio.Semaphore(1)
    hung, other = setup(slots=slots, longest=1.0), setup(slots=slots)
    await hung.call("a")
    hung.clock.advance(60.0)
    await other.call("x")
    assert hung.engine.in_flight is not None, "the call is not cancelled: a thread could not be"
    assert other.engine.batches == []
    await hung.answer()
    assert other.engine.batches == [["x"]]


async def test_a_hung_version_leaves_the_other_slots_to_other_models(setup: Setup) -> None:
    slots = asyncio.Semaphore(2)
    hung, other = setup(slots=slots, longest=1.0), setup(slots=slots)
    await hung.call("a")
    hung.clock.advance(60.0)
    await hung.call("b")
    for name in "xyz":
        caller = await other.call(name)
        await other.answer()
        assert results(caller) == [f"{name}!"]


@pytest.mark.parametrize("how", ["answer", "fail", "give up"])
async def test_a_version_serves_again_once_the_call_has_ended_somehow(setup: Setup, how: str) -> None:
    bench = setup(longest=1.0)
    late = await bench.call("a")
    bench.clock.advance(3.0)
    assert bench.notes.recovered == []
    bench.engine.end(how)
    await settle()
    [(seconds, error)] = bench.notes.recovered
    assert seconds == 3.0
    assert isinstance(error, EngineUnavailable) is (how != "answer")
    assert isinstance(late.exception(), DeadlineExceeded)
    assert (bench.notes.finished, bench.notes.failed) == ([], [])
    after = await bench.call("b")
    await bench.answer()
    assert results(after) == ["b!"]
    assert bench.notes.finished == [(1, 0.0)]


async def test_an_overdue_batch_does_not_set_the_pace(setup: Setup) -> None:
    bench = setup(longest=1.0)
    await bench.call("a")
    await bench.answer(after=60.0)
    await bench.call("busy")
    await bench.call("b")
    assert not (await bench.call("c", within=0.1)).done(), "nothing was measured"


async def test_each_batch_has_its_own_time_and_all_share_a_timer(setup: Setup) -> None:
    bench = setup(longest=1.0)
    for name in "abcde":
        await bench.call(name)
        await bench.answer(after=0.3)
    assert bench.notes.overdue == []
    await bench.call("last")
    assert bench.clock.timers_made == 2
    bench.clock.advance(0.999)
    assert bench.notes.overdue == []
    bench.clock.advance(0.001)
    assert bench.notes.overdue == [1]


async def test_an_idle_engine_is_never_overdue(setup: Setup) -> None:
    bench = setup(longest=1.0)
    await bench.call("a")
    await bench.answer()
    bench.clock.advance(60.0)
    assert bench.notes.overdue == []
    assert bench.clock.pending() == []


async def test_waiting_for_a_slot_is_not_the_engines_time(setup: Setup) -> None:
    bench = setup(longest=1.0)
    await bench.slots.acquire()
    caller = await bench.call("a")
    bench.clock.advance(5.0)
    bench.slots.release()
    await settle()
    await bench.answer(after=0.9)
    assert results(caller) == ["a!"]


async def test_closing_waits_for_an_overdue_batch_and_nobody_else_does(setup: Setup) -> None:
    bench = setup(longest=1.0)
    callers = [await bench.call(name) for name in "ab"]
    closing = asyncio.create_task(bench.batcher.aclose())
    await settle()
    bench.clock.advance(1.0)
    await settle()
    assert [type(caller.exception()) for caller in callers] == [DeadlineExceeded, EngineUnavailable]
    assert isinstance((await bench.call("c")).exception(), ShuttingDown)
    assert not closing.done()
    await bench.answer()
    await closing
    assert len(bench.notes.recovered) == 1
    assert bench.clock.pending() == []


async def test_a_closing_that_does_not_wait_for_an_overdue_batch_leaves_it_its_slot(setup: Setup) -> None:
    bench = setup(longest=1.0)
    await bench.call("a")
    bench.clock.advance(1.0)
    closing = asyncio.create_task(bench.batcher.aclose())
    await settle()
    closing.cancel()
    await settle()
    assert closing.cancelled()
    assert bench.slots.locked()
    await bench.answer()
    assert not bench.slots.locked()
    assert len(bench.notes.recovered) == 1
