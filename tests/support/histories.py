"""A world in which anything may happen to the micro-batcher, and that knows what each caller was promised."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from seqserve.batching.admission import SWEEP_SECONDS
from seqserve.batching.batcher import Batcher, BatchLimits, Outcome, Part
from seqserve.errors import DeadlineExceeded, EngineContractError, EngineUnavailable, Overloaded, ShuttingDown
from support.batching import Caller, FakeClock, FakeEngine, Notes, settle

LARGEST = 4
QUEUE = 10
ROUNDING = 1e-6
TURNS = 20
"""Of the event loop, after which nothing moves any more: four are enough for every chain of tasks here."""


@dataclass(eq=False)
class Asked:
    """One request, as its caller remembers it.

    is_turned_away: a batch was overdue, or the engine away, while it waited; is_too_late: when it came.
    """

    parts: list[Part[str]]
    deadline: float
    caller: Caller = field(init=False)
    is_heard: bool = False
    is_cancelled: bool = False
    is_turned_away: bool = False
    is_too_late: bool = False

    @property
    def examples(self) -> int:
        return sum(part.examples for part in self.parts)

    @property
    def payloads(self) -> set[str]:
        return {part.payload for part in self.parts}


@dataclass
class World(Notes):
    """The batcher under test, and everything that was done to it."""

    delay: float = 0.0
    longest: float = math.inf
    clock: FakeClock = field(default_factory=FakeClock)
    engine: FakeEngine = field(default_factory=FakeEngine)
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    asked: list[Asked] = field(default_factory=list)
    owners: dict[str, tuple[Asked, Part[str]]] = field(default_factory=dict)
    closings: list[asyncio.Task[None]] = field(default_factory=list)
    failed_payloads: set[str] = field(default_factory=set)
    overdue_payloads: set[str] = field(default_factory=set)
    broken_promises: list[str] = field(default_factory=list)
    run_since: float = 0.0
    is_slot_taken: bool = False
    is_away: bool = False
    is_closed: bool = False
    is_stopped: bool = False
    is_worker_cancelled: bool = False

    def __post_init__(self) -> None:
        limits = BatchLimits(LARGEST, QUEUE, self.delay, self.longest)
        self.batcher = Batcher(self.run, limits, slots=self.slots, clock=self.clock, observer=self)

    @property
    def is_overdue(self) -> bool:
        return len(self.overdue) > len(self.recovered)

    # What the batcher does to its engine and tells its observer.

    async def run(self, payloads: Sequence[str]) -> Sequence[str]:
        """The engine's side: what is promised about a batch is looked at when it arrives."""
        if sum(self.owners[payload][1].examples for payload in payloads) > LARGEST:
            self.broken_promises.append("a batch above the limit")
        if self.engine.in_flight is not None:
            self.broken_promises.append("two batches at once")
        for payload in payloads:
            asked = self.owners[payload][0]
            if asked.is_cancelled:
                self.broken_promises.append("a caller in a batch that was sealed after it had left")
            if asked.deadline <= self.clock.now():
                self.broken_promises.append("a caller in a batch that was sealed after its deadline")
        self.run_since = self.clock.now()
        return await self.engine.run(payloads)

    def batch_overdue(self, examples: int) -> None:
        super().batch_overdue(examples)
        self.overdue_payloads.update(self.engine.batches[-1])
        for asked in self.waiting():
            asked.is_turned_away = asked.is_heard

    # What may happen. The names and arguments of these methods are the steps of a history.

    def submit(self, sizes: Sequence[int], within: float) -> None:
        number = len(self.asked)
        parts = [Part(f"{number}.{index}", size) for index, size in enumerate(sizes)]
        asked = Asked(parts, self.clock.now() + within)
        self.asked.append(asked)
        self.owners.update({part.payload: (asked, part) for part in parts})
        asked.caller = asyncio.create_task(self.call(asked))

    async def call(self, asked: Asked) -> list[Outcome[str]]:
        asked.is_heard = True
        asked.is_turned_away = self.is_overdue or self.is_away
        asked.is_too_late = asked.is_turned_away and not self.is_closed
        return await self.batcher.submit(asked.parts, deadline=asked.deadline)

    def tick(self, turns: int) -> int:
        """Let the event loop take a few turns, maybe too few for what has begun."""
        return turns

    def settle(self) -> int:
        """Let everything happen that can."""
        return TURNS

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def cancel(self, index: int) -> None:
        waiting = self.waiting()
        if waiting:
            asked = waiting[index % len(waiting)]
            asked.is_cancelled = asked.caller.cancel() or asked.is_cancelled

    def finish(self, how: str) -> None:
        """End the engine's call, well or badly."""
        if self.engine.in_flight is None or self.engine.in_flight.done():
            return
        payloads = self.engine.batches[-1]
        if how != "answer":
            self.failed_payloads.update(payloads)
        if how == "too few":
            self.engine.answer_with(payloads[1:])
        elif how == "too many":
            self.engine.answer_with([*payloads, "more"])
        else:
            self.engine.end(how)

    def share_slot(self) -> None:
        """Another model takes the slot where it is free, or gives it back."""
        if self.is_slot_taken:
            self.slots.release()
            self.is_slot_taken = False
        elif not self.slots.locked():
            # Free, so it never waits: this coroutine ends in its first step.
            try:
                self.slots.acquire().send(None)
            except StopIteration:
                self.is_slot_taken = True

    def come_and_go(self) -> None:
        """The engine is away from now on, or back."""
        self.is_away = not self.is_away
        if not self.is_away:
            self.batcher.resume()
            return
        ran = {payload for batch in self.engine.batches for payload in batch}
        for asked in self.waiting():
            asked.is_turned_away |= asked.is_heard and not asked.payloads <= ran
        self.batcher.pause()

    def stop(self, how: str) -> None:
        """Close, and let what is queued be finished; or stop at once, in one of three ways."""
        if how == "cancel worker":
            workers = [task for task in asyncio.all_tasks() if task.get_name() == "batcher"]
            if workers and workers[0].cancel():
                self.is_closed = self.is_stopped = self.is_worker_cancelled = True
            return
        self.is_closed = True
        if how == "abort":
            self.is_stopped = True
            self.batcher.abort(ShuttingDown("stopped"))
            return
        self.closings.append(asyncio.create_task(self.batcher.aclose()))
        if how == "cancel closing":
            self.is_stopped = True
            asyncio.get_running_loop().call_soon(self.closings[-1].cancel)

    # How a history ends, and what must be true then.

    async def end(self) -> None:
        """Let everybody be answered: by the engine, or without it where the batcher was stopped at once."""
        if self.is_slot_taken:
            self.share_slot()
        await settle(TURNS)
        if self.is_stopped:
            assert not self.waiting(), "stranded by a stop"
        while self.waiting() or self.engine.in_flight is not None:
            batches = len(self.engine.batches)
            self.finish("answer")
            self.clock.advance(self.delay)
            await settle(TURNS)
            assert self.engine.in_flight is None or len(self.engine.batches) > batches, "stuck"
            assert not self.waiting() or self.engine.in_flight is not None, "stranded"
        self.closings.append(asyncio.create_task(self.batcher.aclose()))
        await settle(TURNS)

    def check(self) -> None:
        assert not self.broken_promises
        assert all(closing.done() for closing in self.closings), "a closing that does not end"
        assert asyncio.all_tasks() == {asyncio.current_task()}, "a task that does not end"
        for asked in self.asked:
            self.check_answer(asked)
        ran = [payload for batch in self.engine.batches for payload in batch]
        assert len(ran) == len(set(ran)), "a part ran twice"
        assert ran == sorted(ran, key=_order), "somebody overtook"
        self.check_books()

    def check_pause(self) -> None:
        """When nothing moves, the queue holds those who wait, and nobody waits who should have an answer."""
        now, ran = self.clock.now(), {payload for batch in self.engine.batches for payload in batch}
        queued = [asked for asked in self.waiting() if not asked.payloads <= ran]
        parts = [part for asked in queued for part in asked.parts if part.payload not in ran]
        examples = sum(part.examples for part in parts)
        assert self.batcher.queued_examples <= QUEUE
        assert self.batcher.queued_examples == examples, "a queue that counts others than those who wait"
        assert not (self.is_away and examples), "somebody waits for an engine that is away"
        late = [asked for asked in queued if asked.deadline + SWEEP_SECONDS + ROUNDING < now]
        assert not late, "somebody waits after the deadline"
        is_long = self.engine.in_flight is not None and self.run_since + self.longest + ROUNDING < now
        assert not is_long or self.is_overdue or self.is_stopped, "a long batch that is not overdue"

    def check_answer(self, asked: Asked) -> None:
        """Nobody is given another's answer, or an error that has no cause."""
        if asked.caller.cancelled():
            assert asked.is_cancelled
            return
        error = asked.caller.exception()
        if asked.is_too_late:
            assert isinstance(error, EngineUnavailable), "let in while a batch was overdue or the engine away"
        if error is None:
            results = [outcome.result for outcome in asked.caller.result()]
            assert results == [f"{part.payload}!" for part in asked.parts]
            assert not asked.payloads & self.overdue_payloads
        elif isinstance(error, DeadlineExceeded):
            assert asked.deadline <= self.clock.now() or asked.payloads & self.overdue_payloads
        elif isinstance(error, EngineUnavailable):
            assert asked.is_turned_away or asked.payloads & self.failed_payloads
        elif isinstance(error, EngineContractError):
            assert asked.payloads & self.failed_payloads
        elif isinstance(error, ShuttingDown):
            assert self.is_closed
        else:
            assert isinstance(error, Overloaded)
            assert not any(asked.payloads & set(batch) for batch in self.engine.batches)

    def check_books(self) -> None:
        """Every example that was asked for is refused, dropped, or in a batch; and nothing is left over."""
        counted = [examples for examples, _, _ in self.started]
        counted += [examples for _, examples in (*self.drops, *self.refusals)]
        assert sum(counted) == sum(asked.examples for asked in self.asked if asked.is_heard)
        ends = len(self.finished) + len(self.failed) + len(self.overdue)
        assert len(self.started) - ends in ((0, 1) if self.is_worker_cancelled else (0,))
        assert not self.is_overdue or self.is_worker_cancelled
        assert self.batcher.queued_examples == 0
        assert self.clock.pending() == []
        self.share_slot()
        assert self.is_slot_taken, "a slot that nobody gave back"
        assert self.slots.locked(), "a slot that was given back twice"

    async def abandon(self) -> None:
        """Leave nothing of a world with a broken promise to the next one."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        callers = [asked.caller for asked in self.asked]
        await asyncio.gather(*left, *callers, return_exceptions=True)

    def waiting(self) -> list[Asked]:
        return [asked for asked in self.asked if not asked.caller.done()]


def _order(payload: str) -> list[int]:
    return [int(number) for number in payload.split(".")]
