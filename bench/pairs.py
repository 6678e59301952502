"""Ratios of two measurements that were taken in turns, A B A B …, so that a machine's moods meet both.

The figure is the median of the pairs' ratios. Its interval is the sign test's: from the k-th smallest to
the k-th largest ratio, with the largest k for which it holds the true median with at least 95 %. That
assumes nothing of how the ratios are distributed, only that one pair says nothing of the next.
Source: Conover, Practical Nonparametric Statistics, 3rd edition, 3.2.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

CONFIDENCE = 0.95
FEWEST_PAIRS = 6
"""With fewer, not even all of the range holds the median with 95 %."""

Measure = Callable[[], Awaitable[float]]
Verdict = Literal["met", "undecided", "missed", "not measured"]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median of the ratios, and the interval of at least 95 % around it."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"

    def verdict(self, at_least: float) -> Verdict:
        """Met when the worse end meets the target, missed when even the better end does not."""
        if self.low >= at_least:
            return "met"
        return "undecided" if self.high >= at_least else "missed"

    def verdict_below(self, at_most: float) -> Verdict:
        """The same of a target that is an upper limit."""
        if self.high <= at_most:
            return "met"
        return "undecided" if self.low <= at_most else "missed"


def ratio_of(pairs: Sequence[tuple[float, float]]) -> Ratio:
    """First over second of each pair. Raises ValueError for fewer than 6 pairs."""
    if len(pairs) < FEWEST_PAIRS:
        raise ValueError(f"{len(pairs)} pairs: an interval of 95 % takes {FEWEST_PAIRS}")
    ratios = sorted(first / second for first, second in pairs)
    outside = _ratios_outside(len(ratios))
    return Ratio(statistics.median(ratios), ratios[outside], ratios[-1 - outside])


async def in_turns(first: Measure, second: Measure, pairs: int) -> list[tuple[float, float]]:
    """Measure both so many times, one after the other: first, second, and so on."""
    return [(await first(), await second()) for _ in range(pairs)]


def _ratios_outside(count: int) -> int:
    """How many ratios may lie outside of the interval at each end.

    The median lies beyond the k-th smallest when fewer than k of `count` fair coins show heads.
    """
    outside, beyond = 0, 2 / 2**count
    while beyond + (step := 2 * math.comb(count, outside + 1) / 2**count) <= 1 - CONFIDENCE:
        outside, beyond = outside + 1, beyond + step
    return outside
