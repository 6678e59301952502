"""Random histories of the micro-batcher: whatever happens in whatever order, each caller is answered once.

A history is a list of steps; afterwards the batcher is closed and every promise is checked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqserve.batching import Batcher, BatchLimits, Outcome, Part
from seqserve.errors import DeadlineExceeded, EngineContractError, EngineUnavailable, Overloaded, ShuttingDown
from support.batching import FakeClock, FakeEngine, Notes, settle

Caller = asyncio.Task[list[Outcome[str]]]
LARGEST = 4
QUEUE = 10


@dataclass
class Asked:
    """One request, as its caller remembers it."""

    parts: list[Part[str]]
    deadline: float | None
    caller: Caller = field(init=False)
    is_heard: bool = False
    is_cancelled: bool = False

    @property
    def examples(self) -> int:
        return sum(part.examples for part in self.parts)


@dataclass
class World:
    """The batcher under test, and everything that was done to it."""

    delay: float
    clock: FakeClock = field(default_factory=FakeClock)
    engine: FakeEngine = field(default_factory=FakeEngine)
    notes: Notes = field(default_factory=Notes)
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    asked: list[Asked] = field(default_factory=list)
    closings: list[asyncio.Task[None]] = field(default_factory=list)
    failed_payloads: set[str] = field(default_factory=set)
    broken_promises: list[str] = field(default_factory=list)
    is_slot_taken: bool = False
    is_closed: bool = False
    is_stopped: bool = False

    def __post_init__(self) -> None:
        limits = BatchLimits(LARGEST, max_queue_size=QUEUE, max_queue_delay_seconds=self.delay)
        self.batcher = Batcher(self.run, limits, slots=self.slots, clock=self.clock, observer=self.notes)

    async def run(self, payloads: Sequence[str]) -> Sequence[str]:
        """The engine's side: what is promised about a batch is looked at when it arrives."""
        owners = {part.payload: (asked, part) for asked in self.asked for part in asked.parts}
        if sum(owners[payload][1].examples for payload in payloads) > LARGEST:
            self.broken_promises.append("a batch above the limit")
        for payload in payloads:
            asked = owners[payload][0]
            if asked.is_cancelled:
                self.broken_promises.append("a caller in a batch that was sealed after it had left")
            if asked.deadline is not None and asked.deadline <= self.clock.now():
                self.broken_promises.append("a caller in a batch that was sealed after its deadline")
        return await self.engine.run(payloads)

    def submit(self, sizes: list[int], within: float | None) -> None:
        number = len(self.asked)
        parts = [Part(f"{number}.{index}", size) for index, size in enumerate(sizes)]
        deadline = None if within is None else self.clock.now() + within
        self.asked.append(Asked(parts, deadline))
        self.asked[-1].caller = asyncio.create_task(self.call(self.asked[-1]))

    async def call(self, asked: Asked) -> list[Outcome[str]]:
        asked.is_heard = True
        return await self.batcher.submit(asked.parts, deadline=asked.deadline)

    async def tick(self, turns: int) -> None:
        """Let the event loop take a few turns, maybe too few for what has begun."""
        for _ in range(turns):
            await asyncio.sleep(0)

    async def settle(self) -> None:
        """Let everything happen that can; then the queue holds those who wait, and nobody else."""
        await settle()
        ran = {payload for batch in self.engine.batches for payload in batch}
        waiting = [part for asked in self.asked if not asked.caller.done() for part in asked.parts]
        expected = sum(part.examples for part in waiting if part.payload not in ran)
        if self.batcher.queued_examples > QUEUE:
            self.broken_promises.append("a queue above its limit")
        if self.batcher.queued_examples != expected:
            self.broken_promises.append("a queue that counts others than those who wait")

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def cancel(self, index: int) -> None:
        waiting = [asked for asked in self.asked if not asked.caller.done()]
        if waiting:
            asked = waiting[index % len(waiting)]
            asked.is_cancelled = asked.caller.cancel() or asked.is_cancelled

    def finish(self, kind: str) -> None:
        """End the batch in flight, well or badly."""
        if self.engine.in_flight is None or self.engine.in_flight.done():
            return
        payloads = self.engine.batches[-1]
        if kind == "answer":
            self.engine.answer()
            return
        self.failed_payloads.update(payloads)
        if kind == "fail":
            self.engine.fail(EngineUnavailable("away"))
        elif kind == "give up":
            self.engine.give_up()
        else:
            self.engine.answer_with(payloads[1:] if kind == "too few" else [*payloads, "more"])

    def share_slot(self) -> None:
        """Another model takes the slot where it is free, or gives it back."""
        if self.is_slot_taken:
            self.slots.release()
            self.is_slot_taken = False
        elif not self.slots.locked():
            # Taking a free slot never waits, so this coroutine ends in its first step.
            with pytest.raises(StopIteration):
                self.slots.acquire().send(None)
            self.is_slot_taken = True

    def stop(self, how: str) -> None:
        """Close, and let what is queued be finished; or stop at once, in one of three ways."""
        if how == "close":
            self.is_closed = True
            self.closings.append(asyncio.create_task(self.batcher.aclose()))
        elif how == "cancel closing":
            self.is_closed = self.is_stopped = True
            self.closings.append(asyncio.create_task(self.batcher.aclose()))
            asyncio.get_running_loop().call_soon(self.closings[-1].cancel)
        elif how == "abort":
            self.is_closed = self.is_stopped = True
            self.batcher.abort(ShuttingDown("stopped"))
        else:
            workers = [task for task in asyncio.all_tasks() if task.get_name() == "batcher"]
            if workers:
                self.is_closed = self.is_stopped = workers[0].cancel()

    async def end(self) -> None:
        """Let everybody be answered: by the engine, or without it where the batcher was stopped at once."""
        if self.is_slot_taken:
            self.share_slot()
        for _ in range(30):
            await settle()
            if all(asked.caller.done() for asked in self.asked) and self.engine.in_flight is None:
                break
            if not self.is_stopped:
                self.finish("answer")
                self.clock.advance(self.delay)

    async def check(self) -> None:
        assert not self.broken_promises
        for asked in self.asked:
            assert asked.caller.done(), "stranded"
            self.check_answer(asked)
        ran = [payload for batch in self.engine.batches for payload in batch]
        assert len(ran) == len(set(ran)), "a part ran twice"
        assert ran == sorted(ran, key=_order), "somebody overtook"
        assert self.engine.most_in_flight <= 1
        await self.batcher.aclose()
        assert all(closing.done() for closing in self.closings)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        self.check_books()

    def check_answer(self, asked: Asked) -> None:
        """Nobody is given another's answer, or an error that has no cause."""
        if asked.caller.cancelled():
            assert asked.is_cancelled
            return
        error = asked.caller.exception()
        payloads = {part.payload for part in asked.parts}
        if error is None:
            results = [outcome.result for outcome in asked.caller.result()]
            assert results == [f"{part.payload}!" for part in asked.parts]
        elif isinstance(error, DeadlineExceeded):
            assert asked.deadline is not None
            assert asked.deadline <= self.clock.now()
        elif isinstance(error, EngineUnavailable | EngineContractError):
            assert payloads & self.failed_payloads
        elif isinstance(error, ShuttingDown):
            assert self.is_closed
        else:
            assert isinstance(error, Overloaded)
            assert not payloads & {payload for batch in self.engine.batches for payload in batch}

    def check_books(self) -> None:
        """Every example that was asked for is refused, dropped, or in a batch; and nothing is left over."""
        counted = [examples for examples, _, _ in self.notes.started]
        counted += [examples for _, examples in (*self.notes.drops, *self.notes.refusals)]
        assert sum(counted) == sum(asked.examples for asked in self.asked if asked.is_heard)
        assert self.batcher.queued_examples == 0
        assert self.clock.pending() == []
        assert not self.slots.locked()


def _order(payload: str) -> list[int]:
    return [int(number) for number in payload.split(".")]


# A step is the name of a method of World and its arguments.
Step = tuple[str, *tuple[object, ...]]

sizes = st.just([1]) | st.just([2]) | st.lists(st.integers(1, LARGEST), min_size=1, max_size=4)
seconds = st.sampled_from([0.001, 0.002, 0.005, 0.02, 0.2, 1.0])
ordinary = st.one_of(
    st.tuples(st.just("submit"), sizes, st.none() | seconds),
    st.tuples(st.just("submit"), sizes, st.none() | seconds),
    st.tuples(st.just("tick"), st.integers(1, 6)),
    st.tuples(st.just("settle")),
    st.tuples(
        st.just("finish"), st.sampled_from(["answer", "answer", "fail", "give up", "too few", "too many"])
    ),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("advance"), seconds),
    st.tuples(st.just("share_slot")),
)
ending = st.tuples(st.just("stop"), st.sampled_from(["close", "cancel closing", "abort", "cancel worker"]))
histories = st.builds(
    lambda before, stops, after: [*before, *stops, *after],
    st.lists(ordinary, min_size=1, max_size=40),
    st.lists(ending, max_size=2),
    st.lists(ordinary, max_size=8),
)
delays = st.sampled_from([0.0, 0.0, 0.02])


async def live_through(history: list[Step], delay: float) -> None:
    world = World(delay)
    for name, *arguments in history:
        done = getattr(world, name)(*arguments)
        if done is not None:
            await done
    await world.end()
    await world.check()


def check_histories(count: int) -> None:
    with asyncio.Runner() as runner:

        @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(histories, delays)
        def every_promise_holds(history: list[Step], delay: float) -> None:
            runner.run(live_through(history, delay))

        every_promise_holds()


def test_every_promise_holds_in_a_thousand_histories() -> None:
    check_histories(1_000)


@pytest.mark.long
def test_every_promise_holds_in_ten_thousand_histories() -> None:
    check_histories(10_000)
