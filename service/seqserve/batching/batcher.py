"""The micro-batcher: callers' parts go in, an engine sees batches, each caller gets its own answers.

One instance a model version. It knows no tensors: payloads and results are opaque and only counted.

An idle engine starts with whoever is at hand, and while it is busy the next batch gathers: callers are
batched just as far as the load asks for it. Who is at hand comes in turns of the event loop, since gRPC
hands over a call a turn, and each takes some more to get here; no time passes for it, and a caller who is
always alone is spared it (see company.py). A caller that leaves, or whose deadline passes, is dropped while
it waits (see admission.py) and never once its part is sealed into a batch. No task is made for a request:
one worker runs the batches, and answers each caller's future.

A batch that takes longer than `max_batch_seconds` is overdue. Its callers get DeadlineExceeded, all
who wait and all who come get EngineUnavailable, and the observer is told. The engine's call is not
cancelled: a thread cannot be, and a remote worker would go on computing unseen. It keeps its compute
slot until it ends, well or badly; then the observer is told and requests are taken again. A version
has one batch in flight, so one that hangs costs the others one slot and no more. Where that was the
last one, no model runs until a call ends: whoever hears the observers can count, and has to say so.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic

from seqserve.batching.admission import (
    BatchLimits,
    BatchObserver,
    DropCause,
    FlushReason,
    Outcome,
    P,
    Part,
    R,
    RefusalCause,
    WaitingRequests,
)
from seqserve.batching.batch import Batch
from seqserve.batching.clock import Clock, MonotonicClock, Timer
from seqserve.batching.company import Company
from seqserve.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    SeqserveError,
    ShuttingDown,
)

QUIET_TURNS = 5
"""Of the event loop, without a newcomer: then nobody else is on the way."""

__all__ = [
    "BatchLimits", "BatchObserver", "Batcher", "DropCause", "FlushReason", "Outcome", "Part", "RefusalCause",
]  # fmt: skip


class Batcher(Generic[P, R]):
    """Gathers parts into batches and runs them one at a time. `aclose` it before it is let go.

    run: takes the payloads of a batch and answers as many results, in the same order. Whatever it
    raises goes to every caller of that batch; nothing is tried twice. It ends no sooner than what it
    has set going, since its slot goes to the next model then.
    slots: how many batches all models together may run; asyncio's semaphore is first come, first served.
    Each batcher waits there once, so while it waits every other one starts at most one batch.
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
        self._in_flight: Batch[P, R] | None = None
        self._company = Company()
        self._is_due = asyncio.Event()
        self._delay_timer: Timer | None = None
        self._overdue_timer: Timer | None = None
        self._worker: asyncio.Task[None] | None = None

    @property
    def max_batch_size(self) -> int:
        """Examples that one batch may hold, and so the largest part."""
        return self._limits.max_batch_size

    @property
    def max_queue_delay_seconds(self) -> float:
        """How long an idle engine waits for a fuller batch."""
        return self._limits.max_queue_delay_seconds

    @property
    def max_batch_seconds(self) -> float:
        """How long the engine may take for a batch."""
        return self._limits.max_batch_seconds

    @property
    def queued_examples(self) -> int:
        """Examples that wait for a batch."""
        return self._waiting.examples

    def check(self, examples: int, *, deadline: float) -> None:
        """Raise at once what `submit` would raise for so many examples now, before work is put into them."""
        self._waiting.check(examples, deadline)

    async def submit(self, parts: Sequence[Part[P]], *, deadline: float | None) -> list[Outcome[R]]:
        """One outcome for each part, in order; the parts may travel in different batches.

        deadline: in the clock's seconds; None waits for as long as it takes.
        Raises ShuttingDown, Overloaded, DeadlineExceeded, EngineUnavailable where a batch is overdue,
        whatever `run` raised for one of the batches, EngineContractError where it answered a wrong
        number of results, and ValueError for parts that no batch could take.
        """
        request = self._waiting.admit(parts, math.inf if deadline is None else deadline)
        self._start_worker()
        if not self._is_due.is_set():
            self._plan(request.deadline)
        try:
            return await request.answer
        except asyncio.CancelledError:
            self._waiting.leave(request)
            raise

    async def aclose(self) -> None:
        """Finish what is queued; new submissions raise ShuttingDown. It may be called again.

        It waits for the engine's call in flight, also for an overdue one: nothing of the version runs
        after it. Where it is cancelled, everybody who still waits gets ShuttingDown at once.
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
        """Answer everybody with `error` now, and take nothing new.

        The engine's call in flight is left to end by itself, and keeps its slot until then.
        """
        batch = self._in_flight
        if batch is not None:
            batch.fail(error)
        self._waiting.abort(error)
        for timer in (self._delay_timer, self._overdue_timer):
            if timer is not None:
                timer.cancel()
        if self._worker is not None and batch is None:
            self._worker.cancel()

    def pause(self) -> None:
        """The engine is away: answer who waits with EngineUnavailable, and who comes until `resume`.

        A batch in flight is left to the engine's own answer, which is an error if anything is.
        """
        self._waiting.pause()

    def resume(self) -> None:
        """The engine is back."""
        self._waiting.is_away = False

    def _start_worker(self) -> None:
        if self._worker is None:
            # In a context of its own: it serves everybody, not the caller who happens to be the first.
            self._worker = asyncio.create_task(self._work(), name="batcher", context=Context())
            # Not in `_work` itself: a task that is cancelled before its first step never runs.
            self._worker.add_done_callback(self._on_worker_done)

    def _on_worker_done(self, _worker: asyncio.Task[None]) -> None:
        self.abort(ShuttingDown("the model was stopped before this request was answered"))

    def _plan(self, deadline: float = math.inf) -> None:
        """Let the worker go on: now, or when the oldest request has waited long enough.

        deadline: a newcomer's, who may have no time for the delay.
        """
        oldest, delay = self._waiting.oldest, self._limits.max_queue_delay_seconds
        if self._waiting.is_closed:
            self._is_due.set()
        elif oldest is None:
            self._is_due.clear()
        elif not delay or self._is_pressing(oldest.arrived + delay, deadline):
            self._is_due.set()
        else:
            self._is_due.clear()
            if self._delay_timer is None:
                self._delay_timer = self._clock.call_at(oldest.arrived + delay, self._on_delay_over)

    def _is_pressing(self, due: float, deadline: float) -> bool:
        """Whether the batch is full or due, or would come too late for that deadline if it waited."""
        examples = self._waiting.examples
        if examples >= self._limits.max_batch_size or due <= self._clock.now():
            return True
        return deadline <= due + self._waiting.pace.estimate_seconds(examples)

    def _on_delay_over(self) -> None:
        self._delay_timer = None
        self._plan()

    async def _work(self) -> None:
        while self._waiting.examples or not self._waiting.is_closed:
            await self._is_due.wait()
            await self._let_in()
            if self._waiting.examples:
                await self._run_next()
            if _is_being_cancelled():
                return  # `run` kept the cancellation to itself
            self._plan()
            if self._waiting.examples:
                await asyncio.sleep(0)  # an engine may answer at once, and others have a turn between batches

    async def _let_in(self) -> None:
        """Wait for those who are on the way already, until the batch is full, or where nobody ever is."""
        if not self._company.is_likely():
            return
        quiet = 0
        while quiet < QUIET_TURNS and (before := self._waiting.examples) < self._limits.max_batch_size:
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._waiting.examples <= before else 0
        self._company.note(self._waiting.callers)

    async def _run_next(self) -> None:
        """Wait for a slot, seal a batch, run it. Raises only the cancellation of the worker."""
        asked = self._clock.now()
        await self._slots.acquire()
        batch = self._in_flight = Batch()
        try:
            reason = self._seal(batch)
            if batch.requests:
                self._observer.batch_started(batch.examples, reason, self._waiting.examples)
                await self._compute(batch, asked)
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise  # the batch stays in flight, and _on_worker_done answers it
            self._fail(batch, EngineUnavailable("the engine gave the batch up"))
        except Exception as error:  # noqa: BLE001 - whatever goes wrong fails this batch, never the worker
            self._fail(batch, error)
        finally:
            self._slots.release()
        self._in_flight = None

    def _seal(self, batch: Batch[P, R]) -> FlushReason:
        """Move waiting parts into the batch, oldest first; from here on nobody is dropped from it."""
        largest, batch.sealed = self._limits.max_batch_size, self._clock.now()
        while taken := self._waiting.take_part(largest - batch.examples, batch.sealed):
            batch.add(*taken)
        if self._waiting.examples or batch.examples == largest:
            return "full"
        if self._waiting.is_closed:
            return "drain"
        return "delay" if self._limits.max_queue_delay_seconds else "idle"

    async def _compute(self, batch: Batch[P, R], asked: float) -> None:
        """Run a sealed batch and answer its callers. Raises EngineContractError or what `run` raises."""
        self._watch(batch)
        results = await self._run(batch.payloads)
        if batch.is_overdue:
            self._recover(batch, None)
            return
        batch.check_count(results)
        now = self._clock.now()
        self._observer.batch_finished(batch.examples, now - batch.sealed)
        batch.answer(results, now - batch.sealed)
        # The wait for a slot counts: where models share, it is part of this one's pace.
        self._waiting.pace.measure(now - asked, batch.examples)

    def _watch(self, batch: Batch[P, R]) -> None:
        """See to it that the batch is looked at in time. A timer of an earlier batch does: it is not late."""
        when = batch.sealed + self._limits.max_batch_seconds
        if self._overdue_timer is None and when < math.inf:
            self._overdue_timer = self._clock.call_at(when, self._look_after_batch)

    def _look_after_batch(self) -> None:
        self._overdue_timer, batch = None, self._in_flight
        if batch is None:
            return
        if self._clock.now() < batch.sealed + self._limits.max_batch_seconds:
            self._watch(batch)
        else:
            self._give_up(batch)

    def _give_up(self, batch: Batch[P, R]) -> None:
        """The engine does not answer in time: so does the batcher, to everybody it knows."""
        batch.is_overdue = True
        seconds = self._limits.max_batch_seconds
        batch.fail(DeadlineExceeded(f"the engine computed the batch for more than {seconds:g} s"))
        self._waiting.turn_away()
        self._observer.batch_overdue(batch.examples)

    def _recover(self, batch: Batch[P, R], error: Exception | None) -> None:
        """The call of an overdue batch has ended; its callers were answered long ago."""
        self._waiting.is_overdue = False
        self._observer.batch_recovered(self._clock.now() - batch.sealed, error)

    def _fail(self, batch: Batch[P, R], error: Exception) -> None:
        if batch.is_overdue:
            self._recover(batch, error)
            return
        self._observer.batch_failed(batch.examples, error)
        batch.fail(error)
        for request in batch.requests:
            self._waiting.drop(request, "failed")  # what still waits has lost its request


def _is_being_cancelled() -> bool:
    """Whether somebody cancelled this task, or a CancelledError merely came up from below."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
