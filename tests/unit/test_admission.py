"""The micro-batcher's rules for its queue: who is let in, who leaves, and when."""

from __future__ import annotations

import math

import pytest

from seqserve.batching.batcher import BatchLimits, Part
from seqserve.errors import DeadlineExceeded, Overloaded
from support.batching import Setup, results, settle


async def test_a_full_queue_refuses_at_once(setup: Setup) -> None:
    bench = setup(queue=4)
    await bench.call("busy", examples=4)
    served = [await bench.call(name, examples=2) for name in "ab"]
    refused = await bench.call("c")
    error = refused.exception()
    assert isinstance(error, Overloaded)
    assert error.retry_after_seconds > 0
    assert bench.notes.refusals == [("full", 1)]
    await bench.answer()
    await bench.answer()
    assert [results(caller) for caller in served] == [["a!"], ["b!"]]


async def test_a_request_is_admitted_whole_or_refused_whole(setup: Setup) -> None:
    bench = setup(queue=5)
    await bench.call("busy")
    refused = await bench.call("a", "b", examples=3)
    assert isinstance(refused.exception(), Overloaded)
    assert bench.batcher.queued_examples == 0
    assert bench.notes.refusals == [("full", 6)]


async def test_a_request_larger_than_the_queue_is_refused_though_the_engine_is_idle(setup: Setup) -> None:
    bench = setup(queue=3)
    assert isinstance((await bench.call("a", examples=4)).exception(), Overloaded)


async def test_a_request_that_the_queue_would_keep_too_long_is_refused(setup: Setup) -> None:
    bench = setup(batch=4)
    await bench.call("measured", examples=4)
    await bench.answer(after=4.0)  # 1 s an example
    await bench.call("busy", examples=4)
    await bench.call("a", examples=2)
    refused = await bench.call("b", within=2.3)  # 2 examples ahead x 1 s x 1.2
    error = refused.exception()
    assert isinstance(error, Overloaded)
    assert error.retry_after_seconds == pytest.approx(2.4)
    assert bench.notes.refusals == [("deadline", 1)]
    assert not (await bench.call("c", within=2.5)).done()


async def test_without_a_measurement_a_short_deadline_is_admitted(setup: Setup) -> None:
    bench = setup()
    await bench.call("busy")
    await bench.call("a")
    assert not (await bench.call("b", within=0.02)).done()


async def test_with_an_empty_queue_a_short_deadline_is_admitted(setup: Setup) -> None:
    bench = setup()
    await bench.call("measured")
    await bench.answer(after=10.0)
    await bench.call("busy")
    assert not (await bench.call("a", within=0.02)).done()


async def test_one_full_batch_corrects_the_pace_of_many_single_examples(setup: Setup) -> None:
    bench = setup(batch=100, queue=1000)
    for number in range(20):
        await bench.call(f"{number}")
        await bench.answer(after=1.0)
    await bench.call("full", examples=100)
    await bench.answer(after=1.0)
    await bench.call("busy", examples=100)
    await bench.call("a", examples=100)
    assert not (await bench.call("b", within=10.0)).done(), "100 ahead are one batch, not 100 s"


async def test_one_slow_batch_does_not_set_the_pace(setup: Setup) -> None:
    bench = setup()
    for seconds in (1.0, 1.0, 10.0):
        await bench.call("measured")
        await bench.answer(after=seconds)
    await bench.call("busy")
    await bench.call("a")
    assert not (await bench.call("b", within=5.0)).done()


async def test_the_wait_for_a_slot_is_part_of_the_pace(setup: Setup) -> None:
    bench = setup()
    await bench.slots.acquire()
    await bench.call("measured")
    bench.clock.advance(9.0)
    bench.slots.release()
    await settle()
    await bench.answer(after=1.0)
    await bench.call("busy")
    await bench.call("a")
    assert isinstance((await bench.call("b", within=5.0)).exception(), Overloaded)


async def test_a_request_whose_deadline_has_passed_is_answered_so(setup: Setup) -> None:
    bench = setup()
    assert isinstance((await bench.call("a", within=0.0)).exception(), DeadlineExceeded)
    assert bench.engine.batches == []
    assert bench.notes.refusals == [("expired", 1)]


@pytest.mark.parametrize("parts", [[], [Part("a", 0)], [Part("a", 1), Part("b", 5)]])
async def test_parts_that_no_batch_could_take_are_a_mistake(setup: Setup, parts: list[Part[str]]) -> None:
    bench = setup(batch=4)
    with pytest.raises(ValueError, match="part"):
        await bench.batcher.submit(parts, deadline=None)
    assert bench.batcher.queued_examples == 0


@pytest.mark.parametrize(
    "limits",
    [
        {"max_batch_size": 0},
        {"max_queue_size": 0},
        {"max_queue_delay_seconds": -0.1},
        {"max_queue_delay_seconds": math.inf},
        {"max_queue_delay_seconds": math.nan},
        {"max_batch_seconds": 0.0},
        {"max_batch_seconds": math.nan},
    ],
)
def test_limits_that_no_request_could_pass_are_a_mistake(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="limits"):
        BatchLimits(**{"max_batch_size": 1, **limits})  # type: ignore[arg-type]  # 0.1 is for the seconds alone


async def test_a_caller_who_leaves_never_reaches_the_engine(setup: Setup) -> None:
    bench = setup()
    await bench.call("busy")
    leaver, neighbour = await bench.call("a", examples=2), await bench.call("b")
    leaver.cancel()
    await settle()
    assert bench.batcher.queued_examples == 1, "its examples leave the count at once"
    await bench.answer()
    await bench.answer()
    assert bench.engine.batches == [["busy"], ["b"]]
    assert leaver.cancelled()
    assert results(neighbour) == ["b!"]
    assert bench.notes.drops == [("departed", 2)]


async def test_a_caller_who_leaves_just_before_sealing_is_left_out(setup: Setup) -> None:
    bench = setup()
    await bench.call("busy")
    leaver = await bench.call("a")
    await bench.call("b")
    bench.engine.answer()
    leaver.cancel()
    await settle()
    assert bench.engine.batches == [["busy"], ["b"]]
    assert bench.notes.drops == [("departed", 1)]


async def test_a_caller_who_leaves_a_sealed_batch_disturbs_nobody(setup: Setup) -> None:
    bench = setup()
    await bench.call("busy")
    leaver, neighbour = await bench.call("a"), await bench.call("b")
    await bench.answer()
    leaver.cancel()
    await settle()
    await bench.answer()
    assert leaver.cancelled()
    assert results(neighbour) == ["b!"]
    assert bench.notes.drops == []


async def test_the_rest_of_a_split_request_is_dropped_when_its_caller_leaves(setup: Setup) -> None:
    bench = setup(batch=2)
    leaver = await bench.call("a", "b", examples=2)
    neighbour = await bench.call("c")
    leaver.cancel()
    await settle()
    await bench.answer()
    await bench.answer()
    assert bench.engine.batches == [["a"], ["c"]]
    assert results(neighbour) == ["c!"]
    assert bench.notes.drops == [("departed", 2)]


async def test_an_expired_caller_is_told_while_the_engine_is_busy(setup: Setup) -> None:
    bench = setup()
    await bench.call("busy")
    late, patient = await bench.call("a", within=0.5), await bench.call("b", within=5.0)
    bench.clock.advance(0.5)
    await settle()
    assert isinstance(late.exception(), DeadlineExceeded)
    assert bench.batcher.queued_examples == 1
    await bench.answer()
    await bench.answer()
    assert bench.engine.batches == [["busy"], ["b"]]
    assert results(patient) == ["b!"]
    assert bench.notes.drops == [("expired", 1)]


async def test_a_deadline_between_two_sweeps_is_seen_at_sealing(setup: Setup) -> None:
    bench = setup()
    await bench.call("busy")
    late = await bench.call("a", within=0.001)
    await bench.answer(after=0.002)
    assert isinstance(late.exception(), DeadlineExceeded)
    assert bench.engine.batches == [["busy"]]


async def test_every_deadline_is_watched_in_whatever_order_they_come(setup: Setup) -> None:
    bench = setup()
    await bench.call("busy")
    callers = {within: await bench.call(f"{within}", within=within) for within in (3.0, 1.0, 2.0)}
    for within in (1.0, 2.0, 3.0):
        assert not callers[within].done()
        bench.clock.advance(1.0)
        await settle()
        assert isinstance(callers[within].exception(), DeadlineExceeded)


async def test_deadlines_cost_a_timer_each_batcher_not_each_request(setup: Setup) -> None:
    bench = setup()
    for number in range(50):
        await bench.call(f"{number}", within=30.0)
        await bench.answer(after=0.001)
    assert len(bench.clock.pending()) == 1


async def test_many_close_deadlines_share_a_timer(setup: Setup) -> None:
    bench = setup()
    await bench.call("busy")
    callers = [await bench.call(f"{number}", within=0.0001 * (number + 1)) for number in range(50)]
    bench.clock.advance(0.02)
    await settle()
    assert all(isinstance(caller.exception(), DeadlineExceeded) for caller in callers)
    assert bench.clock.timers_made == 1


async def test_a_deadline_that_passes_during_the_computing_still_gets_its_answer(setup: Setup) -> None:
    bench = setup()
    caller = await bench.call("a", within=1.0)
    await bench.answer(after=2.0)
    assert results(caller) == ["a!"]


async def test_a_deadline_that_passes_during_one_part_drops_those_that_wait(setup: Setup) -> None:
    bench = setup(batch=2)
    late = await bench.call("a", "b", examples=2, within=1.0)
    neighbour = await bench.call("c")
    bench.clock.advance(1.0)
    await settle()
    assert isinstance(late.exception(), DeadlineExceeded)
    await bench.answer()
    await bench.answer()
    assert results(neighbour) == ["c!"]
    assert bench.engine.batches == [["a"], ["c"]]
    assert bench.notes.drops == [("expired", 2)]


async def test_who_leaves_because_time_ran_out_counts_as_expired(setup: Setup) -> None:
    bench = setup()
    await bench.call("busy")
    caller = await bench.call("a", within=0.001)
    bench.clock.advance(0.001)
    caller.cancel()
    await settle()
    assert bench.notes.drops == [("expired", 1)]
