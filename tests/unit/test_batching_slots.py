"""Compute slots that several models share: nobody starves, and no slot is idle while somebody waits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqserve.batching.batcher import Batcher, BatchLimits, FlushReason, Part
from seqserve.errors import ShuttingDown
from support.batching import Caller, FakeClock, FakeEngine, Notes, Setup, settle

TURNS = 8
LONGEST = 1.0


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


@dataclass
class Model(Notes):
    """A batcher among others; it adds itself to `starts` with every batch.

    waits_since: how many batches of all models had started when it began to wait for a slot.
    """

    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    clock: FakeClock = field(default_factory=FakeClock)
    starts: list[Model] = field(default_factory=list)
    engine: FakeEngine = field(default_factory=FakeEngine)
    callers: list[Caller] = field(default_factory=list)
    waits_since: int | None = None

    def __post_init__(self) -> None:
        limits = BatchLimits(1, max_batch_seconds=LONGEST)
        self.batcher = Batcher(self.engine.run, limits, slots=self.slots, clock=self.clock, observer=self)

    def batch_started(self, examples: int, reason: FlushReason, queued_examples: int) -> None:
        self.starts.append(self)
        self.waits_since = None

    @property
    def is_waiting(self) -> bool:
        return self.engine.in_flight is None and self.batcher.queued_examples > 0


class Crowd:
    """Models that share slots, and what was promised to each."""

    def __init__(self, slots: int, models: int) -> None:
        self.count = slots
        self.clock = FakeClock()
        self.starts: list[Model] = []
        shared = asyncio.Semaphore(slots)
        self.models = [Model(slots=shared, clock=self.clock, starts=self.starts) for _ in range(models)]

    async def step(self, kind: str, model: Model) -> None:
        started = len(self.starts)
        self.act(kind, model)
        await settle(TURNS)
        for each in self.models:
            if not each.is_waiting:
                each.waits_since = None
            elif each.waits_since is None:
                each.waits_since = started

    def act(self, kind: str, model: Model) -> None:
        if kind == "submit":
            work = model.batcher.submit([Part(f"{len(model.callers)}", 1)], deadline=None)
            model.callers.append(asyncio.create_task(work))
        elif kind == "leave":
            for caller in [caller for caller in model.callers if not caller.done()][-1:]:
                caller.cancel()
        elif kind == "hang":
            self.clock.advance(LONGEST)
        elif kind == "abort":
            model.batcher.abort(ShuttingDown("stopped"))
        elif model.engine.in_flight is not None:
            model.engine.end(kind)

    def check(self) -> None:
        in_flight = sum(model.engine.in_flight is not None for model in self.models)
        assert in_flight <= self.count, "more batches than slots"
        waiting = [model for model in self.models if model.is_waiting]
        assert not waiting or in_flight == self.count, "somebody waits beside an idle slot"
        for model in waiting:
            since = self.starts[model.waits_since :]
            turns = [since.count(other) for other in self.models]
            assert max(turns) <= 1, "somebody was overtaken by the same model twice"

    async def end(self) -> None:
        """Let every call end; then nobody waits."""
        while busy := [model for model in self.models if model.engine.in_flight is not None]:
            await self.step("answer", busy[0])
            self.check()
        assert all(caller.done() for model in self.models for caller in model.callers), "stranded"
        for model in self.models:
            model.batcher.abort(ShuttingDown("the test is over"))
        await asyncio.gather(
            *(caller for model in self.models for caller in model.callers), return_exceptions=True
        )
        await settle(TURNS)


KINDS = (
    *("submit",) * 12, *("answer",) * 12, "fail", "give up", *("leave",) * 3, "hang", "hang", "abort",
)  # fmt: skip


async def live_through(slots: int, models: int, code: bytes) -> None:
    crowd = Crowd(slots, models)
    for what, who in zip(code[::2], code[1::2], strict=False):
        # The first model is the heavy one: half of what happens is its own.
        await crowd.step(KINDS[what % len(KINDS)], crowd.models[who // 2 % models if who % 2 else 0])
        crowd.check()
    await crowd.end()


def test_nobody_is_overtaken_twice_by_the_same_model_and_no_slot_is_idle() -> None:
    with asyncio.Runner() as runner:

        @settings(
            max_examples=500,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.integers(1, 3), st.integers(2, 5), st.binary(min_size=40, max_size=160))
        def slots_are_shared(slots: int, models: int, code: bytes) -> None:
            runner.run(live_through(slots, models, code))

        slots_are_shared()
