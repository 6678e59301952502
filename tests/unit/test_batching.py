"""The micro-batcher's rules for batches: gathering, failing, sharing slots, closing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from seqserve.batching.batcher import Batcher, BatchLimits, Outcome, Part
from seqserve.batching.company import LONELY_BATCHES
from seqserve.errors import EngineContractError, EngineUnavailable
from support.batching import FakeClock, Setup, results, settle


async def test_an_idle_engine_starts_at_once(setup: Setup) -> None:
    bench = setup()
    caller = await bench.call("a")
    assert bench.engine.batches == [["a"]]
    await bench.answer()
    assert results(caller) == ["a!"]
    assert bench.notes.started == [(1, "idle", 0)]


async def test_the_next_batch_gathers_while_the_engine_is_busy(setup: Setup) -> None:
    bench = setup()
    first = await bench.call("a")
    others = [await bench.call(name) for name in "bcd"]
    assert bench.engine.batches == [["a"]]
    await bench.answer()
    assert bench.engine.batches == [["a"], ["b", "c", "d"]]
    await bench.answer()
    assert [results(caller) for caller in (first, *others)] == [["a!"], ["b!"], ["c!"], ["d!"]]


async def test_a_batch_is_never_larger_than_the_limit(setup: Setup) -> None:
    bench = setup(batch=4)
    await bench.call("busy")
    for name in "abc":
        await bench.call(name, examples=3)
    await bench.call("d")
    await bench.answer()
    assert bench.engine.batches[-1] == ["a"], "b does not fit, and nobody overtakes it"
    await bench.answer()
    await bench.answer()
    assert bench.engine.batches[2:] == [["b"], ["c", "d"]]
    assert bench.notes.started[1:] == [(3, "full", 7), (3, "full", 4), (4, "full", 0)]


async def test_parts_that_travel_in_different_batches_are_rejoined_in_order(setup: Setup) -> None:
    bench = setup(batch=4)
    caller = await bench.call("a", "b", "c", examples=3)
    for _ in range(2):
        await bench.answer()
        assert not caller.done()
    await bench.answer()
    assert bench.engine.batches == [["a"], ["b"], ["c"]]
    assert results(caller) == ["a!", "b!", "c!"]


async def test_who_is_on_the_way_travels_in_the_first_batch_and_no_time_passes_for_it(setup: Setup) -> None:
    bench = setup(batch=8)

    async def arrive(turns: int) -> object:
        await settle(turns)  # as gRPC hands over one call after the other
        return await bench.batcher.submit([Part(f"after {turns}", 1)], deadline=None)

    arrivals = [asyncio.create_task(arrive(turns)) for turns in (0, 3, 6, 9)]
    await settle(40)

    assert bench.engine.batches == [["after 0", "after 3", "after 6", "after 9"]]
    assert bench.notes.started == [(4, "idle", 0)]
    await bench.answer()
    await asyncio.gather(*arrivals)


async def test_who_is_always_alone_is_not_kept_waiting_for_others(setup: Setup) -> None:
    bench = setup(batch=8)
    turns = []
    for number in range(LONELY_BATCHES + 1):
        caller = asyncio.create_task(bench.batcher.submit([Part(f"{number}", 1)], deadline=None))
        bench.callers.append(caller)
        turns.append(0)
        while len(bench.engine.batches) <= number:
            await settle(1)
            turns[-1] += 1
        await bench.answer()

    assert turns[-1] < turns[-2]
    assert bench.engine.batches == [[f"{number}"] for number in range(LONELY_BATCHES + 1)]


async def test_others_have_a_turn_between_the_batches_of_an_engine_that_answers_at_once() -> None:
    async def answer(payloads: Sequence[str]) -> Sequence[str]:
        batches.append(list(payloads))
        return payloads

    batches: list[list[str]] = []
    batcher = Batcher(answer, BatchLimits(1), slots=asyncio.Semaphore(1), clock=FakeClock())
    caller = asyncio.create_task(batcher.submit([Part(name, 1) for name in "abc"], deadline=None))
    seen = []
    while not caller.done():
        await settle(1)
        seen.append(len(batches))

    assert {1, 2, 3} <= set(seen)
    await batcher.aclose()


async def test_a_full_batch_waits_for_nobody(setup: Setup) -> None:
    bench = setup(batch=2)

    async def arrive(turns: int) -> object:
        await settle(turns)
        return await bench.batcher.submit([Part(f"after {turns}", 2)], deadline=None)

    arrivals = [asyncio.create_task(arrive(turns)) for turns in (0, 3)]
    await settle(40)

    assert bench.engine.batches == [["after 0"]]
    await bench.answer()
    await bench.answer()
    await asyncio.gather(*arrivals)


async def test_an_outcome_tells_wait_computing_and_batch(setup: Setup) -> None:
    bench = setup()
    await bench.call("busy")
    caller = await bench.call("a")
    bench.clock.advance(2.0)
    other = await bench.call("b", examples=2)
    await bench.answer(after=1.0)
    await bench.answer(after=0.5)
    assert caller.result() == [Outcome("a!", queue_seconds=3.0, compute_seconds=0.5, batch_examples=3)]
    assert other.result() == [Outcome("b!", queue_seconds=1.0, compute_seconds=0.5, batch_examples=3)]
    assert bench.notes.finished[-1] == (3, 0.5)


async def test_a_delay_waits_for_a_fuller_batch_and_no_longer(setup: Setup) -> None:
    bench = setup(delay=0.01)
    await bench.call("a")
    bench.clock.advance(0.006)
    await bench.call("b")
    assert bench.engine.batches == []
    bench.clock.advance(0.004)
    await settle()
    assert bench.engine.batches == [["a", "b"]]
    assert bench.notes.started == [(2, "delay", 0)]


async def test_a_full_batch_does_not_wait_for_the_delay(setup: Setup) -> None:
    bench = setup(batch=2, delay=0.01)
    await bench.call("a")
    await bench.call("b")
    assert bench.engine.batches == [["a", "b"]]
    assert bench.notes.started == [(2, "full", 0)]


async def test_a_delay_is_counted_from_the_oldest_that_still_waits(setup: Setup) -> None:
    bench = setup(delay=0.01)
    leaver = await bench.call("a")
    bench.clock.advance(0.006)
    await bench.call("b")
    leaver.cancel()
    await settle()
    bench.clock.advance(0.009)
    await settle()
    assert bench.engine.batches == []
    bench.clock.advance(0.001)
    await settle()
    assert bench.engine.batches == [["b"]]


async def test_who_waited_the_delay_behind_a_busy_engine_waits_no_more(setup: Setup) -> None:
    bench = setup(delay=0.01)
    await bench.call("a")
    bench.clock.advance(0.01)
    await settle()
    await bench.call("b")
    await bench.answer(after=0.02)
    assert bench.engine.batches == [["a"], ["b"]]


async def test_who_has_no_time_for_the_delay_does_not_wait_for_it(setup: Setup) -> None:
    bench = setup(delay=0.01)
    await bench.call("patient", within=1.0)
    assert bench.engine.batches == []
    hurried = await bench.call("hurried", within=0.005)
    assert bench.engine.batches == [["patient", "hurried"]]
    await bench.answer()
    assert results(hurried) == ["hurried!"]


async def test_the_delay_leaves_time_for_the_computing(setup: Setup) -> None:
    bench = setup(delay=0.01)
    await bench.call("measured", within=0.005)
    await bench.answer(after=1.0)
    await bench.call("a", within=1.1)  # 10 ms of delay and 1 s x 1.2 of computing are more
    assert bench.engine.batches[1:] == [["a"]]


async def test_an_engine_failure_reaches_every_caller_of_its_batch_and_nobody_else(setup: Setup) -> None:
    bench = setup(batch=2)
    await bench.call("busy")
    failed = [await bench.call(name) for name in "ab"]
    spared = await bench.call("c")
    await bench.answer()
    error = EngineUnavailable("away")
    bench.engine.fail(error)
    await settle()
    await bench.answer()
    assert [caller.exception() for caller in failed] == [error, error]
    assert results(spared) == ["c!"]
    assert bench.engine.batches == [["busy"], ["a", "b"], ["c"]], "nothing is tried twice"
    assert bench.notes.failed == [(2, error)]


async def test_a_failed_part_drops_the_rest_of_its_request(setup: Setup) -> None:
    bench = setup(batch=2)
    caller = await bench.call("a", "b", "c", examples=2)
    bench.engine.fail(RuntimeError("broken"))
    await settle()
    assert isinstance(caller.exception(), RuntimeError)
    assert bench.batcher.queued_examples == 0
    assert bench.engine.batches == [["a"]]
    assert bench.notes.drops == [("failed", 4)]


async def test_a_part_in_the_middle_that_fails_fails_its_request_and_no_other(setup: Setup) -> None:
    bench = setup(batch=3)
    caller = await bench.call("a", "b", "c", examples=2)
    neighbour = await bench.call("d")
    await bench.answer()
    assert not caller.done()
    bench.engine.fail(EngineUnavailable("away"))
    await settle()
    assert isinstance(caller.exception(), EngineUnavailable)
    await bench.answer()
    assert results(neighbour) == ["d!"]
    assert bench.engine.batches == [["a"], ["b"], ["d"]]


@pytest.mark.parametrize("answer", [[], ["a!", "b!", "too many"]])
async def test_a_wrong_number_of_results_fails_the_batch(setup: Setup, answer: list[str]) -> None:
    bench = setup()
    await bench.call("busy")
    callers = [await bench.call(name) for name in "ab"]
    await bench.answer()
    bench.engine.answer_with(answer)
    await settle()
    assert all(isinstance(caller.exception(), EngineContractError) for caller in callers)
    after = await bench.call("c")
    await bench.answer()
    assert results(after) == ["c!"]


async def test_an_engine_that_cancels_its_batch_fails_it_and_not_the_batcher(setup: Setup) -> None:
    bench = setup()
    caller = await bench.call("a")
    bench.engine.give_up()
    await settle()
    assert isinstance(caller.exception(), EngineUnavailable)
    after = await bench.call("b")
    await bench.answer()
    assert results(after) == ["b!"]


async def test_an_engine_that_raises_before_it_runs_fails_its_batch_and_frees_the_slot() -> None:
    slots = asyncio.Semaphore(1)

    def run(payloads: Sequence[str]) -> asyncio.Future[Sequence[str]]:
        raise StopIteration  # what a future refuses to hold

    batcher = Batcher(run, BatchLimits(4), slots=slots, clock=FakeClock())
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await batcher.submit([Part("a", 1)], deadline=None)
    await batcher.aclose()
    assert not slots.locked()


async def test_it_runs_on_the_loops_own_clock() -> None:
    async def echo(payloads: Sequence[str]) -> Sequence[str]:
        return payloads

    batcher = Batcher(echo, BatchLimits(4, max_queue_delay_seconds=1e-6), slots=asyncio.Semaphore(1))
    deadline = asyncio.get_running_loop().time() + 60
    outcomes = await asyncio.gather(*(batcher.submit([Part(name, 1)], deadline=deadline) for name in "abcde"))
    assert [outcome.result for [outcome] in outcomes] == list("abcde")
    await batcher.aclose()
