"""Either queue of a model version, Python's or C++'s, with a model that computes when a test lets it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seqserve.batching.admission import BatchLimits, Outcome, Part
from seqserve.batching.batcher import Batcher
from seqserve.batching.observers import VersionObserver
from seqserve.engines.base import FloatArray
from seqserve.errors import ShuttingDown
from seqserve.metrics.rows import EXAMPLES, SECONDS
from seqserve.predictor import batch_runner
from seqserve.repository.versions import RowBatcher
from seqserve.signature import Signature
from support.batching import Notes
from support.contract import signature_document

SIGNATURE = Signature.parse(signature_document("tiny_image"))
INPUT, OUTPUT = SIGNATURE.input.example_shape, SIGNATURE.output.example_shape


@dataclass
class SteppedModel:
    """Answers each row's first number, once `go` is set; `fault` is raised instead."""

    batches: list[list[float]] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    fault: Exception | None = None
    answers: Callable[[FloatArray], FloatArray] | None = None

    async def infer(self, batch: FloatArray) -> FloatArray:
        firsts = batch.reshape(len(batch), -1)[:, 0].copy()
        self.batches.append(firsts.tolist())
        self.entered.set()
        await self.go.wait()
        if self.fault is not None:
            raise self.fault
        if self.answers is not None:
            return self.answers(batch)
        return np.repeat(firsts, math.prod(OUTPUT)).reshape(len(batch), *OUTPUT)

    async def unload(self) -> None:
        pass


@dataclass
class Watcher(Notes, VersionObserver):
    """Writes down what is heard, and can be waited for."""

    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def batch_overdue(self, examples: int) -> None:
        super().batch_overdue(examples)
        self.heard.set()

    def batch_recovered(self, compute_seconds: float, error: Exception | None) -> None:
        super().batch_recovered(compute_seconds, error)
        self.heard.set()


@dataclass
class RowBench:
    """A queue, its model and its observer; native: what only C++'s queue has."""

    batcher: RowBatcher
    model: SteppedModel
    notes: Watcher
    native: dict[str, Any] = field(default_factory=dict)

    def ask(
        self, *firsts: float, rows: int = 1, within: float | None = None
    ) -> asyncio.Task[list[Outcome[FloatArray]]]:
        """A caller with a part of so many equal rows for each number."""
        deadline = None if within is None else asyncio.get_running_loop().time() + within
        parts = [Part(np.full((rows, *INPUT), first, np.float32), rows) for first in firsts]
        return asyncio.create_task(self.batcher.submit(parts, deadline=deadline))

    async def busy(self) -> asyncio.Task[list[Outcome[FloatArray]]]:
        """A caller whose batch of one row is being computed."""
        caller = self.ask(100.0)
        await self.model.entered.wait()
        return caller


Make = Callable[..., Awaitable[RowBench]]


@asynccontextmanager
async def python_benches() -> AsyncIterator[Make]:
    """Makes benches of batching.batcher."""
    made: list[RowBench] = []

    async def make(**limits: Any) -> RowBench:
        model, notes = SteppedModel(), Watcher()
        batcher: Batcher[FloatArray, FloatArray] = Batcher(
            batch_runner(model, notes), BatchLimits(**limits), slots=asyncio.Semaphore(1), observer=notes
        )
        made.append(RowBench(batcher, model, notes))
        return made[-1]

    yield make
    await _end(made)


@asynccontextmanager
async def native_benches() -> AsyncIterator[Make]:
    """Makes benches of native_front.queue."""
    # Only where the extension is built.
    from seqserve.native_front import _native  # noqa: PLC0415
    from seqserve.native_front.desk import EventDesk  # noqa: PLC0415
    from seqserve.native_front.queue import NativeBatcher, NativeQueues  # noqa: PLC0415
    from seqserve.native_front.slots import ComputeSlots  # noqa: PLC0415

    made: list[RowBench] = []
    desk = EventDesk()
    queues = NativeQueues(desk)
    slots = ComputeSlots(queues.runners, 1)
    desk.start()
    slots.start()

    async def make(**limits: Any) -> RowBench:
        model, notes = SteppedModel(), Watcher()
        ledger = _native.BatchLedger([round(bound * 1e9) for bound in SECONDS], EXAMPLES)
        batcher = NativeBatcher(
            queues, SIGNATURE, model, BatchLimits(**limits), max_request_examples=100, ledger=ledger,
            observer=notes,
        )  # fmt: skip
        made.append(RowBench(batcher, model, notes, {"ledger": ledger, "slots": slots, "queues": queues}))
        return made[-1]

    yield make
    await _end(made)
    await slots.aclose(10.0)
    desk.stop()


async def _end(benches: list[RowBench]) -> None:
    for bench in benches:
        bench.model.go.set()
        bench.batcher.abort(ShuttingDown("the test is over"))
        await bench.batcher.aclose()


def answers(caller: asyncio.Task[list[Outcome[FloatArray]]]) -> list[float]:
    """The first number of each row that an answered caller got."""
    rows = np.concatenate([outcome.result for outcome in caller.result()])
    assert rows.shape[1:] == OUTPUT
    return [float(first) for first in rows.reshape(len(rows), -1)[:, 0]]
