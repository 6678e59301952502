"""A model's batch curve: the seconds of a forward by batch size and threads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Point:
    """Forwards of one batch size on one number of threads, measured one after the other.

    batch_size: examples. threads: of one forward. median_seconds, p99_seconds: of one forward, with its way
    to the computing thread and back.
    """

    batch_size: int
    threads: int
    rounds: int
    median_seconds: float
    p99_seconds: float

    @property
    def examples_per_second(self) -> float:
        """What full batches of this size make, one at a time."""
        return self.batch_size / self.median_seconds


@dataclass(frozen=True, slots=True)
class Curve:
    """All that was measured of one model version."""

    model: str
    version: str
    points: tuple[Point, ...]

    def on(self, threads: int) -> tuple[Point, ...]:
        """Those on so many threads, the smallest batch first."""
        found = (point for point in self.points if point.threads == threads)
        return tuple(sorted(found, key=lambda point: point.batch_size))

    @property
    def threads(self) -> tuple[int, ...]:
        """The numbers of threads that were tried, the least first."""
        return tuple(sorted({point.threads for point in self.points}))


def point_of(batch_size: int, threads: int, seconds: Sequence[float]) -> Point:
    """A point from the seconds of its rounds; p99 is one that was seen, at least 99% are not above it."""
    ordered = sorted(seconds)
    p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
    return Point(batch_size, threads, len(ordered), median(ordered), p99)


def doublings(largest: int) -> tuple[int, ...]:
    """Batch sizes, or threads, to try: 100 → 1, 2, 4, …, 64, 100."""
    return (*(1 << power for power in range((largest - 1).bit_length())), largest)
