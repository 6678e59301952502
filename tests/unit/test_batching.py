"""The micro-batcher's rules, one by one, on a clock and an engine that the test moves."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from seqserve.batching import Batcher, BatchLimits, Outcome, Part
from seqserve.errors import (
    DeadlineExceeded,
    EngineContractError,
    EngineUnavailable,
    Overloaded,
    ShuttingDown,
)
from support.batching import FakeClock, FakeEngine, Notes, settle

Caller = asyncio.Task[list[Outcome[str]]]


@dataclass
class Bench:
    """A batcher whose engine, clock and slots are in the test's hands."""

    batcher: Batcher[str, str]
    engine: FakeEngine
    clock: FakeClock
    notes: Notes
    slots: asyncio.Semaphore
    callers: list[Caller] = field(default_factory=list)

    async def call(self, *payloads: str, examples: int = 1, within: float | None = None) -> Caller:
        """A caller with a part for each payload, who waits `within` seconds."""
        deadline = None if within is None else self.clock.now() + within
        parts = [Part(payload, examples) for payload in payloads]
        caller = asyncio.create_task(self.batcher.submit(parts, deadline=deadline))
        self.callers.append(caller)
        await settle()
        return caller

    async def answer(self, after: float = 0.0) -> None:
        self.clock.advance(after)
        self.engine.answer()
        await settle()


Setup = Callable[..., Bench]


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    """Makes benches, and stops their batchers at the end."""
    benches: list[Bench] = []

    def make(
        *, batch: int = 4, queue: int = 100, delay: float = 0.0, slots: asyncio.Semaphore | None = None
    ) -> Bench:
        limits = BatchLimits(batch, max_queue_size=queue, max_queue_delay_seconds=delay)
        engine, clock, notes = FakeEngine(), FakeClock(), Notes()
        shared = slots or asyncio.Semaphore(1)
        batcher = Batcher(engine.run, limits, slots=shared, clock=clock, observer=notes)
        benches.append(Bench(batcher, engine, clock, notes, shared))
        return benches[-1]

    yield make
    for bench in benches:
        bench.batcher.abort(ShuttingDown("the test is over"))
        await settle()
        assert all(caller.done() for caller in bench.callers), "somebody is stranded"
        await asyncio.gather(*bench.callers, return_exceptions=True)


def results(caller: Caller) -> list[str]:
    return [outcome.result for outcome in caller.result()]


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


async def test_a_deadline_that_passes_during_the_computing_still_gets_its_answer(setup: Setup) -> None:
    bench = setup()
    caller = await bench.call("a", within=1.0)
    await bench.answer(after=2.0)
    assert results(caller) == ["a!"]


async def test_who_leaves_because_time_ran_out_counts_as_expired(setup: Setup) -> None:
    bench = setup()
    await bench.call("busy")
    caller = await bench.call("a", within=0.001)
    bench.clock.advance(0.001)
    caller.cancel()
    await settle()
    assert bench.notes.drops == [("expired", 1)]


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
    ("batch", "queue", "delay"), [(0, 1, 0.0), (1, 0, 0.0), (1, 1, -0.1), (1, 1, math.inf), (1, 1, math.nan)]
)
def test_limits_that_no_request_could_pass_are_a_mistake(batch: int, queue: int, delay: float) -> None:
    with pytest.raises(ValueError, match="limits"):
        BatchLimits(batch, max_queue_size=queue, max_queue_delay_seconds=delay)


async def test_models_take_turns_at_a_shared_slot(setup: Setup) -> None:
    slots = asyncio.Semaphore(1)
    busy, other = setup(slots=slots, batch=1), setup(slots=slots, batch=1)
    for name in "abc":
        await busy.call(name)
    await other.call("x")
    assert (busy.engine.batches, other.engine.batches) == ([["a"]], [])
    await busy.answer()
    assert (busy.engine.batches, other.engine.batches) == ([["a"]], [["x"]])
    await other.answer()
    assert busy.engine.batches == [["a"], ["b"]]


async def test_a_batch_gathers_and_drops_until_it_has_a_slot(setup: Setup) -> None:
    bench = setup()
    await bench.slots.acquire()
    leaver = await bench.call("a")
    await bench.call("b")
    leaver.cancel()
    await settle()
    bench.slots.release()
    await settle()
    assert bench.engine.batches == [["b"]]


async def test_many_slots_still_mean_one_batch_in_flight(setup: Setup) -> None:
    bench = setup(slots=asyncio.Semaphore(4), batch=1)
    for name in "abc":
        await bench.call(name)
    assert bench.engine.batches == [["a"]]


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
    await bench.call("a")
    closings = [asyncio.create_task(bench.batcher.aclose()) for _ in range(2)]
    await settle()
    await bench.answer()
    await asyncio.gather(*closings)
    await bench.batcher.aclose()


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
    assert not bench.slots.locked()
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


async def test_it_runs_on_the_loops_own_clock() -> None:
    async def echo(payloads: Sequence[str]) -> Sequence[str]:
        return payloads

    batcher = Batcher(echo, BatchLimits(4, max_queue_delay_seconds=1e-6), slots=asyncio.Semaphore(1))
    deadline = asyncio.get_running_loop().time() + 60
    outcomes = await asyncio.gather(*(batcher.submit([Part(name, 1)], deadline=deadline) for name in "abcde"))
    assert [outcome.result for [outcome] in outcomes] == list("abcde")
    await batcher.aclose()
