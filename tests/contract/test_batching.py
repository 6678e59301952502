"""The micro-batcher against the histories that every implementation obeys.

A history says what happens, who hears what in the end, and what the engine saw. A request above the largest
batch is cut by its caller, as the predictor does. Within one batch the order is free.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from seqserve.batching.batcher import Batcher, BatchLimits, Part
from seqserve.errors import DeadlineExceeded, EngineUnavailable, Overloaded, ShuttingDown
from support.batching import Caller, FakeClock, FakeEngine, results, settle
from support.contract import Case, cases

HISTORIES = cases("batching.json")
WORDS: dict[type[BaseException], str] = {
    Overloaded: "overloaded",
    DeadlineExceeded: "deadline_exceeded",
    EngineUnavailable: "unavailable",
    ShuttingDown: "shutting_down",
    ArithmeticError: "engine_failed",
}


@dataclass
class Replay:
    """A batcher to which a history happens."""

    limits: BatchLimits
    clock: FakeClock = field(default_factory=FakeClock)
    engine: FakeEngine = field(default_factory=FakeEngine)
    callers: dict[str, Caller] = field(default_factory=dict)
    batcher: Batcher[str, str] = field(init=False)
    closing: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.batcher = Batcher(self.engine.run, self.limits, slots=asyncio.Semaphore(1), clock=self.clock)

    async def happen(self, step: dict[str, Any]) -> None:
        """One step, and all that follows from it."""
        arguments = {name: value for name, value in step.items() if name != "do"}
        happened = getattr(self, step["do"])(**arguments)
        if happened is not None:
            await happened
        await settle()

    def ask(self, who: str, rows: int, within: float = math.inf) -> None:
        largest = self.limits.max_batch_size
        parts = [Part(who, min(largest, rows - start)) for start in range(0, rows, largest)]
        deadline = self.clock.now() + within
        self.callers[who] = asyncio.create_task(self.batcher.submit(parts, deadline=deadline))

    def leave(self, who: str) -> None:
        self.callers[who].cancel()

    def answer(self) -> None:
        self.engine.answer()

    def fail(self) -> None:
        self.engine.fail(ArithmeticError("the engine failed"))

    async def advance(self, seconds: float) -> None:
        """Each timer at its own time, and what follows from it before the next."""
        end = self.clock.now() + seconds
        while due := [timer.when for timer in self.clock.pending() if timer.when <= end]:
            self.clock.advance(max(0.0, min(due) - self.clock.now()))
            await settle()
        self.clock.advance(end - self.clock.now())

    def see(self, batches: int) -> None:
        assert len(self.engine.batches) == batches

    def close(self) -> None:
        self.closing = asyncio.create_task(self.batcher.aclose())

    def abort(self) -> None:
        self.batcher.abort(ShuttingDown("the model is stopped"))

    def pause(self) -> None:
        self.batcher.pause()

    def resume(self) -> None:
        self.batcher.resume()

    def outcome(self, who: str) -> str:
        """What the caller heard, in one word of the histories."""
        caller = self.callers[who]
        if not caller.done():
            return "waiting"
        if caller.cancelled():
            return "left"
        error = caller.exception()
        if error is not None:
            return WORDS[type(error)]
        assert set(results(caller)) == {f"{who}!"}
        return "answered"

    async def end(self) -> None:
        """Leave nothing behind, whatever the history left open."""
        self.abort()
        if self.engine.in_flight is not None:
            self.engine.answer()
        await settle()
        await asyncio.gather(*self.callers.values(), return_exceptions=True)
        await self.batcher.aclose()
        if self.closing is not None:
            await self.closing


@pytest.mark.parametrize("case", HISTORIES, ids=[case["case"] for case in HISTORIES])
async def test_a_history_ends_as_it_says(case: Case) -> None:
    limits = {"max_batch_size": 4, "max_queue_size": 10, **case.get("limits", {})}
    replay = Replay(BatchLimits(**limits))
    try:
        for step in case["steps"]:
            await replay.happen(step)
        assert {who: replay.outcome(who) for who in replay.callers} == case["outcomes"]
        assert [sorted(batch) for batch in replay.engine.batches] == case["batches"]
    finally:
        await replay.end()


def test_every_outcome_has_a_history() -> None:
    outcomes = {outcome for case in HISTORIES for outcome in case["outcomes"].values()}
    assert outcomes == {"answered", "left", "waiting", *WORDS.values()}
