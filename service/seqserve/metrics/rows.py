"""Kinds of metrics: what is declared of one, and how it is made from that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import GaugeMetricFamily

SECONDS = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0,
)  # fmt: skip
EXAMPLES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric as it is served; this one is made by prometheus_client itself.

    name: with the suffix that its kind brings along (`_total`, `_info`). unit: of its values.
    meaning: its help text. look_for: what an operator does with it.
    """

    name: str
    meaning: str
    look_for: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    kind: str = "gauge"


@dataclass(frozen=True, slots=True)
class CounterRow(MetricRow):
    """Only ever grows, until the gateway starts again."""

    kind: str = "counter"

    def make(self, registry: CollectorRegistry) -> Counter:
        """The counter itself; once for each registry."""
        return Counter(self.name, self.meaning, self.labels, registry=registry)


@dataclass(frozen=True, slots=True)
class GaugeRow(MetricRow):
    """Goes up and down."""

    def make(self, registry: CollectorRegistry) -> Gauge:
        """The gauge itself; once for each registry."""
        return Gauge(self.name, self.meaning, self.labels, registry=registry)

    def family(self) -> GaugeMetricFamily:
        """An empty one, for a collector that fills it at each scrape."""
        return GaugeMetricFamily(self.name, self.meaning, labels=self.labels)


@dataclass(frozen=True, slots=True)
class HistogramRow(MetricRow):
    """Counts observations by size; `_sum` over `_count` is their mean."""

    BUCKETS: ClassVar[dict[str, tuple[float, ...]]] = {"seconds": SECONDS, "examples": EXAMPLES}

    unit: str = "seconds"
    kind: str = "histogram"

    def make(self, registry: CollectorRegistry) -> Histogram:
        """The histogram itself; once for each registry."""
        buckets = self.BUCKETS[self.unit]
        return Histogram(self.name, self.meaning, self.labels, buckets=buckets, registry=registry)


@dataclass(frozen=True, slots=True)
class InfoRow(MetricRow):
    """Always 1; its labels are the news."""

    kind: str = "info"

    def make(self, registry: CollectorRegistry) -> Info:
        """The info itself; once for each registry."""
        return Info(self.name.removesuffix("_info"), self.meaning, registry=registry)
