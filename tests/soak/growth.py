"""Does something grow? The slope of a series, robust against outliers, and what is called a leak.

Source: Sen, "Estimates of the regression coefficient based on Kendall's tau", 1968.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import theilslopes

from soak.footprint import Footprint

WARM_UP = 1 / 3
"""The share of the time that does not count: caches fill, allocators find their size."""
CONFIDENCE = 0.95
HOUR_SECONDS = 3600.0
ALLOWED = {"memory_bytes": 8 << 20, "descriptors": 8.0, "threads": 2.0, "tasks": 8.0}
"""By how much each may have grown, over the time that counts, at the lower end of the interval."""


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

    @property
    def is_leak(self) -> bool:
        """Whether it is surely more than what is allowed."""
        return self.sure > ALLOWED[self.name]


def growth(samples: Sequence[Footprint], name: str) -> Growth:
    """Of one field of the samples. Raises ValueError for fewer than ten that count."""
    counted = [sample for sample in samples if sample.seconds >= samples[-1].seconds * WARM_UP]
    if len(counted) < 10:
        raise ValueError(f"{len(counted)} samples count, at least 10 are needed")
    values = [float(getattr(sample, name)) for sample in counted]
    times = [sample.seconds for sample in counted]
    slope, _, low, high = theilslopes(values, times, CONFIDENCE)
    return Growth(
        name=name,
        first=values[0],
        last=values[-1],
        slope=float(slope) * HOUR_SECONDS,
        low=float(low) * HOUR_SECONDS,
        high=float(high) * HOUR_SECONDS,
        sure=float(low) * (times[-1] - times[0]),
    )
