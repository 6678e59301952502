"""The micro-batcher: callers' parts go in, an engine sees batches, each caller gets its own answers.

One instance a model version. It knows no tensors: payloads and results are opaque and only counted.

An idle engine starts at once; while it is busy the next batch gathers, so callers are batched just
as far as the load asks for it. A caller that leaves, or whose deadline passes, is dropped while it
waits (see admission.py) and never once its part is sealed into a batch. No task is made for a
request: one worker runs the batches, and answers each caller's future.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic

from seqserve.admission import (
    BatchLimits,
    BatchObserver,
    Clock,
    DropCause,
    FlushReason,
    MonotonicClock,
    Outcome,
    P,
    Part,
    R,
    RefusalCause,
    Request,
    Timer,
    WaitingRequests,
)
from seqserve.errors import EngineContractError, EngineUnavailable, SeqserveError, ShuttingDown

__all__ = [
    "BatchLimits", "BatchObserver", "Batcher", "Clock", "DropCause", "FlushReason", "MonotonicClock",
    "Outcome", "Part", "RefusalCause", "Timer",
]  # fmt: skip


@dataclass(slots=True, eq=False)
class _Batch(Generic[P, R]):
    """What one run takes: payloads, and for each the request that it belongs to."""

    payloads: list[P] = field(default_factory=list)
    requests: list[Request[P, R]] = field(default_factory=list)
    examples: int = 0
    sealed: float = 0.0

    def add(self, request: Request[P, R], part: Part[P]) -> None:
        self.payloads.append(part.payload)
        self.requests.append(request)
        self.examples += part.examples

    def check_count(self, results: Sequence[R]) -> None:
        if len(results) != len(self.payloads):
            raise EngineContractError(f"{len(results)} results for {len(self.payloads)} payloads")

    def answer(self, results: Sequence[R], compute_seconds: float) -> None:
        for request, result in zip(self.requests, results, strict=True):
            queue_seconds = self.sealed - request.arrived
            request.append(Outcome(result, queue_seconds, compute_seconds, self.examples))


class Batcher(Generic[P, R]):
    """Gathers parts into batches and runs them one at a time. `aclose` it before it is let go.

    run: takes the payloads of a batch and answers as many results, in the same order. Whatever it
    raises goes to every caller of that batch; nothing is tried twice.
    slots: how many batches all models together may run; asyncio's semaphore is first come, first served.
    """

    def __init__(
        self,
        run: Callable[[Sequence[P]], Awaitable[Sequence[R]]],
        limits: BatchLimits,
        *,
        slots: asyncio.Semaphore,
        clock: Clock | None = None,
        observer: BatchObserver | None = None,
    ) -> None:
        self._run = run
        self._limits = limits
        self._slots = slots
        self._clock = clock or MonotonicClock()
        self._observer = observer or BatchObserver()
        self._waiting: WaitingRequests[P, R] = WaitingRequests(limits, self._clock, self._observer)
        self._in_flight: _Batch[P, R] | None = None
        self._is_due = asyncio.Event()
        self._delay_timer: Timer | None = None
        self._worker: asyncio.Task[None] | None = None

    @property
    def queued_examples(self) -> int:
        """Examples that wait for a batch."""
        return self._waiting.examples

    async def submit(self, parts: Sequence[Part[P]], *, deadline: float | None) -> list[Outcome[R]]:
        """One outcome for each part, in order; the parts may travel in different batches.

        deadline: in the clock's seconds; None waits for as long as it takes.
        Raises ShuttingDown, Overloaded, DeadlineExceeded, whatever `run` raised for one of the batches,
        EngineContractError where it answered a wrong number of results, and ValueError for parts that
        no batch could take.
        """
        request = self._waiting.admit(parts, math.inf if deadline is None else deadline)
        self._start_worker()
        if not self._is_due.is_set():
            self._plan()
        try:
            return await request.answer
        except asyncio.CancelledError:
            self._waiting.leave(request)
            raise

    async def aclose(self) -> None:
        """Finish what is queued; new submissions raise ShuttingDown. It may be called again.

        Where it is cancelled, everybody who still waits is answered with ShuttingDown at once.
        """
        self._waiting.is_closed = True
        self._plan()
        try:
            if self._worker is not None:
                await asyncio.wait((self._worker,))
        except asyncio.CancelledError:
            self.abort(ShuttingDown("the gateway stopped before this request was answered"))
            raise

    def abort(self, error: SeqserveError) -> None:
        """Answer everybody with `error` now, give up the batch in flight, and take nothing new."""
        for request in self._in_flight.requests if self._in_flight else ():
            request.fail(error)
        self._waiting.abort(error)
        if self._delay_timer is not None:
            self._delay_timer.cancel()
        if self._worker is not None:
            self._worker.cancel()

    def _start_worker(self) -> None:
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="batcher")
            # Not in `_work` itself: a task that is cancelled before its first step never runs.
            self._worker.add_done_callback(self._on_worker_done)

    def _on_worker_done(self, _worker: asyncio.Task[None]) -> None:
        self.abort(ShuttingDown("the model was stopped before this request was answered"))

    def _plan(self) -> None:
        """Let the worker go on: now, or when the oldest request has waited long enough."""
        oldest, delay = self._waiting.oldest, self._limits.max_queue_delay_seconds
        is_full = self._waiting.examples >= self._limits.max_batch_size
        if self._waiting.is_closed:
            self._is_due.set()
        elif oldest is None:
            self._is_due.clear()
        elif is_full or oldest.arrived + delay <= self._clock.now():
            self._is_due.set()
        else:
            self._is_due.clear()
            if self._delay_timer is None:
                self._delay_timer = self._clock.call_at(oldest.arrived + delay, self._on_delay_over)

    def _on_delay_over(self) -> None:
        self._delay_timer = None
        self._plan()

    async def _work(self) -> None:
        while self._waiting.oldest or not self._waiting.is_closed:
            await self._is_due.wait()
            if self._waiting.oldest:
                await self._run_next()
            self._plan()

    async def _run_next(self) -> None:
        """Wait for a slot, seal a batch, run it. Raises only the cancellation of the worker."""
        asked = self._clock.now()
        await self._slots.acquire()
        batch = self._in_flight = _Batch()
        try:
            reason = self._seal(batch)
            if batch.requests:
                self._observer.batch_started(batch.examples, reason, self._waiting.examples)
                await self._compute(batch)
                # The wait for a slot counts: where models share, it is part of this one's pace.
                self._waiting.pace.measure(self._clock.now() - asked, batch.examples)
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise  # the batch stays in flight, and _on_worker_done answers it
            self._fail(batch, EngineUnavailable("the engine gave the batch up"))
        except Exception as error:  # noqa: BLE001 - whatever goes wrong fails this batch, never the worker
            self._fail(batch, error)
        finally:
            self._slots.release()
        self._in_flight = None

    def _seal(self, batch: _Batch[P, R]) -> FlushReason:
        """Move waiting parts into the batch, oldest first; from here on nobody is dropped from it."""
        largest, batch.sealed = self._limits.max_batch_size, self._clock.now()
        while taken := self._waiting.take_part(largest - batch.examples, batch.sealed):
            batch.add(*taken)
        if self._waiting.oldest or batch.examples == largest:
            return "full"
        if self._waiting.is_closed:
            return "drain"
        return "delay" if self._limits.max_queue_delay_seconds else "idle"

    async def _compute(self, batch: _Batch[P, R]) -> None:
        """Run a sealed batch and answer its callers. Raises EngineContractError or what `run` raises."""
        results = await self._run(batch.payloads)
        batch.check_count(results)
        compute_seconds = self._clock.now() - batch.sealed
        self._observer.batch_finished(batch.examples, compute_seconds)
        batch.answer(results, compute_seconds)

    def _fail(self, batch: _Batch[P, R], error: Exception) -> None:
        self._observer.batch_failed(batch.examples, error)
        for request in batch.requests:
            request.fail(error)
            self._waiting.drop(request, "failed")  # what still waits has lost its request


def _is_being_cancelled() -> bool:
    """Whether somebody cancelled this task, or a CancelledError merely came up from below."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
