"""A clock and an engine that do only what a test tells them, and a bench for the micro-batcher."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from seqserve.batching.batcher import (
    Batcher,
    BatchObserver,
    DropCause,
    FlushReason,
    Outcome,
    Part,
    RefusalCause,
)
from seqserve.errors import EngineUnavailable

Caller = asyncio.Task[list[Outcome[str]]]


@dataclass(eq=False)
class FakeTimer:
    """A call that waits for the clock."""

    when: float
    callback: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeClock:
    """Time stands still until `advance`."""

    def __init__(self) -> None:
        self.timers: list[FakeTimer] = []
        self.timers_made = 0
        self._now = 1000.0

    def now(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(when, callback)
        self.timers.append(timer)
        self.timers_made += 1
        return timer

    def advance(self, seconds: float) -> None:
        """Move on, and make each call that is due at its own time."""
        target = self._now + seconds
        while due := [timer for timer in self.pending() if timer.when <= target]:
            timer = min(due, key=lambda timer: timer.when)
            self.timers.remove(timer)
            self._now = max(self._now, timer.when)
            timer.callback()
        self._now = target

    def pending(self) -> list[FakeTimer]:
        """Calls that are still to be made."""
        return [timer for timer in self.timers if not timer.is_cancelled]


class FakeEngine:
    """Runs until the test answers; `batches` holds the payloads of every batch it was given."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.in_flight: asyncio.Future[Sequence[str]] | None = None
        self.most_in_flight = 0
        self._running = 0

    async def run(self, payloads: Sequence[str]) -> Sequence[str]:
        self.batches.append(list(payloads))
        self._running += 1
        self.most_in_flight = max(self.most_in_flight, self._running)
        self.in_flight = asyncio.get_running_loop().create_future()
        try:
            return await self.in_flight
        finally:
            self.in_flight = None
            self._running -= 1

    def answer(self) -> None:
        """Each payload comes back as its own result."""
        self.answer_with([f"{payload}!" for payload in self.batches[-1]])

    def answer_with(self, results: Sequence[str]) -> None:
        assert self.in_flight is not None, "nothing runs"
        self.in_flight.set_result(results)

    def fail(self, error: Exception) -> None:
        assert self.in_flight is not None, "nothing runs"
        self.in_flight.set_exception(error)

    def give_up(self) -> None:
        """Cancel the batch from the engine's side."""
        assert self.in_flight is not None, "nothing runs"
        self.in_flight.cancel()

    def end(self, how: str) -> None:
        """End the batch in flight in one of the ways above: `answer`, `fail`, `give up`."""
        if how == "answer":
            self.answer()
        elif how == "fail":
            self.fail(EngineUnavailable("away"))
        else:
            self.give_up()


@dataclass
class Notes(BatchObserver):
    """Writes down what an observer hears."""

    started: list[tuple[int, FlushReason, int]] = field(default_factory=list)
    finished: list[tuple[int, float]] = field(default_factory=list)
    failed: list[tuple[int, Exception]] = field(default_factory=list)
    drops: list[tuple[DropCause, int]] = field(default_factory=list)
    refusals: list[tuple[RefusalCause, int]] = field(default_factory=list)
    overdue: list[int] = field(default_factory=list)
    recovered: list[tuple[float, Exception | None]] = field(default_factory=list)

    def batch_started(self, examples: int, reason: FlushReason, queued_examples: int) -> None:
        self.started.append((examples, reason, queued_examples))

    def batch_finished(self, examples: int, compute_seconds: float) -> None:
        self.finished.append((examples, compute_seconds))

    def batch_failed(self, examples: int, error: Exception) -> None:
        self.failed.append((examples, error))

    def batch_overdue(self, examples: int) -> None:
        self.overdue.append(examples)

    def batch_recovered(self, compute_seconds: float, error: Exception | None) -> None:
        self.recovered.append((compute_seconds, error))

    def dropped(self, cause: DropCause, examples: int) -> None:
        self.drops.append((cause, examples))

    def refused(self, cause: RefusalCause, examples: int) -> None:
        self.refusals.append((cause, examples))


async def settle(turns: int = 20) -> None:
    """Let every task run until it waits for something that only the test can give."""
    for _ in range(turns):
        await asyncio.sleep(0)


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
"""Makes benches: `batch`, `queue`, `delay`, `longest` and `slots` as in BatchLimits and Batcher."""


def results(caller: Caller) -> list[str]:
    """What an answered caller got, part by part."""
    return [outcome.result for outcome in caller.result()]
