"""Fixtures that several unit tests share."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator

import pytest

from seqserve.batching.batcher import Batcher, BatchLimits
from seqserve.errors import ShuttingDown
from support.batching import Bench, FakeClock, FakeEngine, Notes, Setup, settle


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.upper().startswith("SEQSERVE_")]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    """Makes benches, and stops their batchers at the end."""
    benches: list[Bench] = []

    def make(
        *,
        batch: int = 4,
        queue: int = 100,
        delay: float = 0.0,
        longest: float = math.inf,
        slots: asyncio.Semaphore | None = None,
    ) -> Bench:
        limits = BatchLimits(
            batch, max_queue_size=queue, max_queue_delay_seconds=delay, max_batch_seconds=longest
        )
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
