"""Histograms for what is measured with each request: prometheus_client's own take six times as long.

It walks the buckets one by one, and takes two locks. Here an observation is a search and two additions, which
nothing comes between in CPython: it switches threads at calls and jumps alone. So scrapes from other threads
do no harm.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from seqserve.metrics.rows import HistogramRow


class Histogram:
    """One series. bounds: the buckets' upper ends, ascending, without infinity."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, amount: float) -> None:
        """Once more."""
        bucket = bisect_left(self._bounds, amount)
        self._counts[bucket] += 1
        self._sum += amount

    def read(self) -> tuple[list[int], float]:
        """(cumulative counts, the last of them of all; the sum of all amounts)."""
        counts, total = list(self._counts), self._sum
        for index in range(1, len(counts)):
            counts[index] += counts[index - 1]
        return counts, total


class Histograms(Collector):
    """The series of one row of the table, by the values of its labels."""

    def __init__(self, row: HistogramRow, registry: CollectorRegistry) -> None:
        self._row = row
        self._bounds = row.BUCKETS[row.unit]
        ends = (*self._bounds, math.inf)
        self._names = [str(floatToGoString(end)) for end in ends]  # type: ignore[no-untyped-call]  # prometheus_client's
        self._series: dict[tuple[str, ...], Histogram] = {}
        registry.register(self)

    def labels(self, *values: str) -> Histogram:
        """The series with these values, in the order of the row's labels; a new one starts at zero."""
        return self._series.setdefault(values, Histogram(self._bounds))

    def remove_by_labels(self, labels: dict[str, str]) -> None:
        """Drop the series with these values; all of the row's labels have one."""
        self._series.pop(tuple(labels[name] for name in self._row.labels), None)

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Its name, for the registry to see that nothing else has it."""
        yield HistogramMetricFamily(self._row.name, self._row.meaning, labels=self._row.labels)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """See Collector; may be called in any thread."""
        family = HistogramMetricFamily(self._row.name, self._row.meaning, labels=self._row.labels)
        for values, series in list(self._series.items()):
            counts, total = series.read()
            family.add_metric(values, list(zip(self._names, counts, strict=True)), total)
        yield family
