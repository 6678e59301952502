"""Who may wait for a batch, and who leaves the queue before one: the front half of the micro-batcher.

A request is admitted whole or refused whole. It waits until the last of its parts is taken into a
batch, unless its caller leaves or its deadline passes; then what still waits is dropped at once.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, TypeVar

from seqserve.batching.clock import Clock, Timer
from seqserve.errors import DeadlineExceeded, EngineUnavailable, Overloaded, SeqserveError, ShuttingDown

P = TypeVar("P")
R = TypeVar("R")

FlushReason = Literal["full", "idle", "delay", "drain"]
DropCause = Literal["departed", "expired", "failed", "overdue", "away", "aborted"]
RefusalCause = Literal["full", "deadline", "expired", "overdue", "away", "closing"]

OVERDUE = "the engine has been computing one batch for too long"
AWAY = "what runs this model is away; it is being brought back"
ESTIMATE_MARGIN = 1.2
PACE_WEIGHT = 0.2
SWEEP_SECONDS = 0.01
"""Expired callers are looked for at most this often, which bounds the cost of thousands of deadlines."""


class Part(NamedTuple, Generic[P]):
    """A piece of a request that goes into one batch: 1 to `max_batch_size` examples."""

    payload: P
    examples: int


class Outcome(NamedTuple, Generic[R]):
    """What became of one part: its result, its wait, and the batch that it shared."""

    result: R
    queue_seconds: float
    compute_seconds: float
    batch_examples: int


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much an engine sees at once, and how much may wait for it. Raises ValueError.

    max_queue_size: examples that may wait; those in a sealed batch no longer do.
    max_queue_delay_seconds: how long an idle engine waits for a fuller batch.
    max_batch_seconds: how long the engine may take for a batch; the default is no limit.
    """

    max_batch_size: int
    max_queue_size: int = 4096
    max_queue_delay_seconds: float = 0.0
    max_batch_seconds: float = math.inf

    def __post_init__(self) -> None:
        has_room = self.max_batch_size >= 1 and self.max_queue_size >= 1
        has_time = 0 <= self.max_queue_delay_seconds < math.inf and self.max_batch_seconds > 0
        if not has_room or not has_time:
            raise ValueError(f"limits that no request could pass: {self}")


class BatchObserver:
    """Hears what happens; this one does nothing. Its methods must not raise.

    A batch that has started is finished, failed or overdue: one of them, and once. None of them comes
    for a batch whose worker was cancelled.
    """

    def batch_started(self, examples: int, reason: FlushReason, queued_examples: int) -> None:
        """A batch goes to the engine, and `queued_examples` still wait."""

    def batch_finished(self, examples: int, compute_seconds: float) -> None:
        """The engine has answered."""

    def batch_failed(self, examples: int, error: Exception) -> None:
        """The batch has no answer; each of its callers gets `error`."""

    def batch_overdue(self, examples: int) -> None:
        """The engine has had `max_batch_seconds`: the batch's callers, and all who waited, are answered.

        The version takes nothing until `batch_recovered`, and holds one compute slot for as long.
        """

    def batch_recovered(self, compute_seconds: float, error: Exception | None) -> None:
        """The engine's call for an overdue batch has ended after all: the version may serve again.

        error: how it ended, None for results; nobody waits for either. It may come after `abort`.
        """

    def dropped(self, cause: DropCause, examples: int) -> None:
        """Admitted examples left the queue before they reached a batch."""

    def refused(self, cause: RefusalCause, examples: int) -> None:
        """A request was not admitted."""


class Pace:
    """Measured seconds an example.

    Seconds and examples are averaged apart, so that one large batch outweighs many small ones: after
    a lull of single examples the first full batch already shows what the engine can do.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._examples = 0.0

    def measure(self, seconds: float, examples: int) -> None:
        """Take one batch into account."""
        weight = PACE_WEIGHT if self._examples else 1.0
        self._seconds += weight * (seconds - self._seconds)
        self._examples += weight * (examples - self._examples)

    def estimate_seconds(self, examples: int) -> float:
        """How long that many examples take, with a margin; 0 without a measurement."""
        return ESTIMATE_MARGIN * examples * self._seconds / self._examples if self._examples else 0.0


@dataclass(slots=True, eq=False)
class Request(Generic[P, R]):
    """A caller's parts. They are taken in order and batches run one by one, so outcomes only append."""

    parts: Sequence[Part[P]]
    queued_examples: int
    deadline: float
    arrived: float
    answer: asyncio.Future[list[Outcome[R]]]
    taken_parts: int = 0
    outcomes: list[Outcome[R]] = field(default_factory=list)

    def append(self, outcome: Outcome[R]) -> None:
        """Answer the caller, if this was the last outcome and the caller is still there."""
        self.outcomes.append(outcome)
        if len(self.outcomes) == len(self.parts) and not self.answer.done():
            self.answer.set_result(self.outcomes)

    def fail(self, error: BaseException) -> None:
        """Answer the caller with an error, unless it left or has its answer."""
        if not self.answer.done():
            self.answer.set_exception(error)


class WaitingRequests(Generic[P, R]):
    """The bounded queue of one model version, first come, first served."""

    def __init__(self, limits: BatchLimits, clock: Clock, observer: BatchObserver) -> None:
        self.examples = 0
        self.pace = Pace()
        self.is_closed = False
        self.is_overdue = False
        self.is_away = False
        self._limits = limits
        self._clock = clock
        self._observer = observer
        # Ordered, and a caller who leaves is taken out of the middle at once: nothing piles up.
        self._requests: OrderedDict[Request[P, R], None] = OrderedDict()
        self._sweep_timer: Timer | None = None
        self._sweep_at = math.inf

    @property
    def oldest(self) -> Request[P, R] | None:
        """Who has waited longest."""
        return next(iter(self._requests), None)

    @property
    def callers(self) -> int:
        """How many wait."""
        return len(self._requests)

    def admit(self, parts: Sequence[Part[P]], deadline: float) -> Request[P, R]:
        """Let a request wait.

        Raises ShuttingDown, EngineUnavailable, DeadlineExceeded, Overloaded, ValueError.
        """
        examples = self._count_examples(parts)
        now = self._clock.now()
        self._refuse_hopeless(examples, deadline, now)
        answer: asyncio.Future[list[Outcome[R]]] = asyncio.get_running_loop().create_future()
        request = Request(parts, examples, deadline, now, answer)
        self._requests[request] = None
        self.examples += examples
        self._sweep_no_later_than(deadline, now)
        return request

    def check(self, examples: int, deadline: float) -> None:
        """Raise what `admit` would raise for so many examples now."""
        self._refuse_hopeless(examples, deadline, self._clock.now())

    def take_part(self, room: int, now: float) -> tuple[Request[P, R], Part[P]] | None:
        """Take out the next part if `room` examples hold it; who left or is late is dropped on the way."""
        while self._requests:
            request = next(iter(self._requests))
            part = request.parts[request.taken_parts]
            if request.answer.done():
                self.leave(request)
            elif request.deadline <= now:
                self._expire(request)
            elif part.examples > room:
                return None
            else:
                self._take(request, part)
                return request, part
        return None

    def leave(self, request: Request[P, R]) -> None:
        """The caller stopped waiting."""
        self.drop(request, "expired" if request.deadline <= self._clock.now() else "departed")

    def drop(self, request: Request[P, R], cause: DropCause) -> None:
        """Forget what still waits; parts taken before stay with their batch."""
        if request in self._requests:
            del self._requests[request]
            self.examples -= request.queued_examples
            self._observer.dropped(cause, request.queued_examples)

    def abort(self, error: SeqserveError) -> None:
        """Answer everybody with `error` and let nobody in any more."""
        self.is_closed = True
        self._dismiss(error, "aborted")
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()

    def turn_away(self) -> None:
        """A batch is overdue: everybody gets EngineUnavailable, and who comes while `is_overdue` stands."""
        self.is_overdue = True
        self._dismiss(EngineUnavailable(OVERDUE), "overdue")

    def pause(self) -> None:
        """The engine is away: everybody gets EngineUnavailable, and who comes while `is_away` stands."""
        self.is_away = True
        self._dismiss(EngineUnavailable(AWAY), "away")

    def _dismiss(self, error: SeqserveError, cause: DropCause) -> None:
        while request := self.oldest:
            request.fail(error)
            self.drop(request, cause)

    def _count_examples(self, parts: Sequence[Part[P]]) -> int:
        largest = self._limits.max_batch_size
        examples = 0
        for part in parts:
            if not 1 <= part.examples <= largest:
                raise ValueError(f"a part of {part.examples} examples; accepted: 1 to {largest}")
            examples += part.examples
        if not examples:
            raise ValueError("a request without parts")
        return examples

    def _refuse_hopeless(self, examples: int, deadline: float, now: float) -> None:
        if self.is_closed:
            self._observer.refused("closing", examples)
            raise ShuttingDown("this model takes no new requests")
        if self.is_overdue:
            self._observer.refused("overdue", examples)
            raise EngineUnavailable(OVERDUE)
        if self.is_away:
            self._observer.refused("away", examples)
            raise EngineUnavailable(AWAY)
        if deadline <= now:
            self._observer.refused("expired", examples)
            raise DeadlineExceeded("the deadline had passed before the request could wait for a batch")
        estimate = self.pace.estimate_seconds(self.examples)
        if self.examples + examples > self._limits.max_queue_size:
            self._observer.refused("full", examples)
            raise Overloaded(
                f"{self.examples} examples wait, {examples} more would pass the limit of "
                f"{self._limits.max_queue_size}",
                retry_after_seconds=estimate or 1.0,
            )
        if now + estimate > deadline:
            self._observer.refused("deadline", examples)
            raise Overloaded(
                f"the queue takes about {estimate:.3g} s, the caller waits {deadline - now:.3g} s",
                retry_after_seconds=estimate,
            )

    def _take(self, request: Request[P, R], part: Part[P]) -> None:
        request.taken_parts += 1
        request.queued_examples -= part.examples
        self.examples -= part.examples
        if request.taken_parts == len(request.parts):
            del self._requests[request]

    def _expire(self, request: Request[P, R]) -> None:
        request.fail(DeadlineExceeded("the deadline passed while the request waited for a batch"))
        self.drop(request, "expired")

    def _sweep_no_later_than(self, deadline: float, now: float) -> None:
        if deadline >= self._sweep_at:
            return
        when = max(deadline, now + SWEEP_SECONDS)
        if when < self._sweep_at:
            if self._sweep_timer is not None:
                self._sweep_timer.cancel()
            self._sweep_at = when
            self._sweep_timer = self._clock.call_at(when, self._sweep)

    def _sweep(self) -> None:
        """Answer those whose time ran out while the engine was busy with others."""
        self._sweep_timer, self._sweep_at = None, math.inf
        now = self._clock.now()
        for request in [request for request in self._requests if request.deadline <= now]:
            self._expire(request)
        earliest = min((request.deadline for request in self._requests), default=math.inf)
        self._sweep_no_later_than(earliest, now)
