"""From batch curves to settings that keep to a bound on the p99, with the most throughput.

What the bound rests on is how the batcher works (batching/batcher.py), the native front's likewise:

- A version has one batch in flight, and the next one gathers meanwhile. So a request waits at most for the
  batch in flight and then for its own, two forwards, as long as no more examples wait than one batch holds.
  Beyond that the queue grows, whatever the settings are.
- A delay counts from a request's arrival, so it passes while the batch in flight is computed. One that is
  shorter than a forward makes nobody wait longer than those two.
- Where more models are served than there are compute slots, each of the others may start one batch first, in
  the slots side by side. All are given the same time for a batch: (models - 1) / slots forwards more.

A delay adds nothing where the queue is full: then batches are full without it. It pays where as many callers
as a batch holds get their answers together and come back a moment later. Without it the first of them starts
a batch of its own, and they fall into two groups that take turns. Together they save what a forward takes
whatever its size, and pay the delay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seqserve.tuning.curves import Curve, Point

NEARLY = 0.95
"""Of the most throughput: smaller batches that reach that are preferred."""

THREADS_WORTH = 1.25
"""How many times the throughput more threads must make: the event loop and other models want cores too."""

DELAY_WORTH = 2.0
"""How many times the delay a forward must take whatever its size, for the delay to be proposed."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """What models on one device share. threads: of one forward. slots: batches computed at once."""

    models: int
    threads: int
    slots: int

    @property
    def forwards(self) -> float:
        """How many forwards a request takes at most, from its arrival to its answer."""
        others = self.models - 1
        return 2.0 + (others / self.slots if others >= self.slots else 0.0)

    @property
    def share(self) -> float:
        """Of the time, in which a model computes when all have work."""
        return min(1.0, self.slots / self.models)

    def bound_seconds(self, point: Point) -> float:
        """The most that a request waits and is computed, where no model's batches take longer than these."""
        return self.forwards * point.p99_seconds


@dataclass(frozen=True, slots=True)
class Choice:
    """One model's part of a proposal.

    bound_seconds: waiting and computing, at most. fixed_seconds: what a forward takes whatever its size.
    """

    curve: Curve
    point: Point
    bound_seconds: float
    fixed_seconds: float
    max_queue_delay_seconds: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """Settings that keep to the bound: one choice for each curve, in their order."""

    sharing: Sharing
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Miss:
    """A model that no batch size brings below the bound. bound_seconds: the least, at that point."""

    curve: Curve
    point: Point
    bound_seconds: float

    @property
    def by_median_seconds(self) -> float:
        """What it would be, did all forwards take as long as their median."""
        return self.bound_seconds * self.point.median_seconds / self.point.p99_seconds


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the curves were measured. cores: that the process may use. is_gpu: batches run on a GPU."""

    cores: int
    is_gpu: bool = False

    def sharing(self, models: int, threads: int) -> Sharing:
        """One slot on a GPU, else cores over threads: as `serve` chooses them."""
        return Sharing(models, threads, 1 if self.is_gpu else max(1, self.cores // threads))


def propose(
    curves: Sequence[Curve], p99_seconds: float, machine: Machine, *, round_trip_seconds: float
) -> Proposal | tuple[Miss, ...]:
    """The smallest batches that nearly do best, on the fewest threads beyond which more are not worth it.

    curves: of all models that are served together, measured on the same numbers of threads.
    round_trip_seconds: how soon a caller who has been answered asks again.
    Where some model cannot keep to the bound: the misses on the threads that come nearest.
    """
    sharings = [machine.sharing(len(curves), threads) for threads in curves[0].threads]
    picked = {
        sharing: [point for curve in curves if (point := _best(curve, sharing, p99_seconds))]
        for sharing in sharings
    }
    within = [sharing for sharing in sharings if len(picked[sharing]) == len(curves)]
    if not within:
        return min((_misses(curves, sharing, p99_seconds) for sharing in sharings), key=_farthest)
    sharing = _worth_it({sharing: _mean_rate(picked[sharing]) * sharing.share for sharing in within})
    return Proposal(
        sharing,
        tuple(
            _choice(curve, point, sharing, round_trip_seconds)
            for curve, point in zip(curves, picked[sharing], strict=True)
        ),
    )


def fixed_seconds(curve: Curve, point: Point) -> float:
    """What a forward takes whatever its size: where the line through this and the next smaller batch begins.

    No more than the quickest of the smaller ones takes in all, however the line runs. 0 where there is no
    smaller batch, and nobody to wait for.
    """
    smaller = [other for other in curve.on(point.threads) if other.batch_size < point.batch_size]
    if not smaller:
        return 0.0
    other = smaller[-1]
    slope = (point.median_seconds - other.median_seconds) / (point.batch_size - other.batch_size)
    beginning = max(0.0, point.median_seconds - slope * point.batch_size)
    return min([beginning, point.median_seconds, *(one.median_seconds for one in smaller)])


def _worth_it(rates: Mapping[Sharing, float]) -> Sharing:
    """The first, or a later one with more threads that makes clearly more. rates: examples a second."""
    best, *others = rates
    for more in others:
        best = more if rates[more] >= THREADS_WORTH * rates[best] else best
    return best


def _best(curve: Curve, sharing: Sharing, p99_seconds: float) -> Point | None:
    """The smallest batch that keeps to the bound with nearly the most throughput; None where none does."""
    within = [point for point in curve.on(sharing.threads) if sharing.bound_seconds(point) <= p99_seconds]
    most = max((point.examples_per_second for point in within), default=0.0)
    return next((point for point in within if point.examples_per_second >= NEARLY * most), None)


def _choice(curve: Curve, point: Point, sharing: Sharing, round_trip_seconds: float) -> Choice:
    fixed = fixed_seconds(curve, point)
    delay = round_trip_seconds if fixed >= DELAY_WORTH * round_trip_seconds else 0.0
    return Choice(curve, point, sharing.bound_seconds(point), fixed, delay)


def _mean_rate(points: Sequence[Point]) -> float:
    """Examples a second, the geometric mean: twice as many for one model outweigh no halving elsewhere."""
    return math.exp(sum(math.log(point.examples_per_second) for point in points) / len(points))


def _misses(curves: Sequence[Curve], sharing: Sharing, p99_seconds: float) -> tuple[Miss, ...]:
    nearest = ((curve, min(curve.on(sharing.threads), key=sharing.bound_seconds)) for curve in curves)
    misses = (Miss(curve, point, sharing.bound_seconds(point)) for curve, point in nearest)
    return tuple(miss for miss in misses if miss.bound_seconds > p99_seconds)


def _farthest(misses: Sequence[Miss]) -> float:
    return max(miss.bound_seconds for miss in misses)
