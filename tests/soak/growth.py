"""Does something grow? The slope of a series, robust against outliers, and what is called a leak.

Source: Sen, "Estimates of the regression coefficient based on Kendall's tau", 1968.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import theilslopes

from support.footprint import Footprint

WARM_UP = 1 / 3
"""The share of the time that does not count: caches fill, allocators find their size."""
CONFIDENCE = 0.95
HOUR_SECONDS = 3600.0
FEWEST = 10
FULL_SECONDS = HOUR_SECONDS * (1 - WARM_UP)
AT_ONCE = {"memory_bytes": 3 << 20, "descriptors": 4.0, "threads": 2.0, "tasks": 8.0}
IN_FULL = {"memory_bytes": 8 << 20, "descriptors": 8.0, "threads": 2.0, "tasks": 8.0}
"""By how much each may have grown at the lower end of the interval: in next to no time, and in what counts of an hour.

What a gateway takes while it gets warm comes in its first minutes: 2 MiB from the second to the sixth of a soak,
whose first hour then grows by 2 to 4 MiB in the 40 minutes that count (docs/reliability.md). So a short run gets
a part that is for warming up, and the rest with its time; one of more than an hour gets no more than an hour.
Threads come one by one until the pools are full. Tasks are calls under way: a machine that others begin
to use has some more of them, however short the run.
"""


@dataclass(frozen=True)
class Growth:
    """Of one series: the slope in units an hour with its interval, and the growth that is sure in the time that counts."""

    name: str
    first: float
    last: float
    slope: float
    low: float
    high: float
    sure: float
    allowed: float

    @property
    def is_leak(self) -> bool:
        """Whether it is surely more than what is allowed."""
        return self.sure > self.allowed


def allowed(name: str, seconds: float) -> float:
    """By how much it may have grown, surely, in so much time that counts."""
    share = min(seconds / FULL_SECONDS, 1.0)
    return AT_ONCE[name] + share * (IN_FULL[name] - AT_ONCE[name])


def found_out(run_seconds: float, times: float) -> dict[str, float]:
    """How much of each leaks a second where a run of that length sees so many times as much as is allowed."""
    seconds = run_seconds * (1 - WARM_UP)
    return {name: times * allowed(name, seconds) / seconds for name in IN_FULL}


def growth(samples: Sequence[Footprint], name: str) -> Growth:
    """Of one field of the samples. Raises ValueError for fewer than FEWEST that count."""
    counted = [sample for sample in samples if sample.seconds >= samples[-1].seconds * WARM_UP]
    if len(counted) < FEWEST:
        raise ValueError(f"{len(counted)} samples count, at least {FEWEST} are needed")
    values = [float(getattr(sample, name)) for sample in counted]
    times = [sample.seconds for sample in counted]
    slope, _, low, high = theilslopes(values, times, CONFIDENCE)
    seconds = times[-1] - times[0]
    return Growth(
        name=name,
        first=values[0],
        last=values[-1],
        slope=float(slope) * HOUR_SECONDS,
        low=float(low) * HOUR_SECONDS,
        high=float(high) * HOUR_SECONDS,
        sure=float(low) * seconds,
        allowed=allowed(name, seconds),
    )
