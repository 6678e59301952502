"""Adds to each series what a queue outside of Python has counted for it, at each scrape; see table.py.

Batches that fail, hang and recover are not among it: Python hears of each and counts them itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from grpc import StatusCode
from prometheus_client import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from seqserve.batching.ledgers import Histogram, VersionCounts
from seqserve.metrics import table
from seqserve.metrics.rows import CounterRow, GaugeRow, HistogramRow

NANOSECONDS = 1e-9

Labels = tuple[tuple[str, str], ...]
Values = dict[tuple[str, Labels], float]
"""By the sample's name and its labels, in their order."""

_CODES = {code.value[0]: code.name for code in StatusCode}


def merge(families: Iterable[Metric], counts: Sequence[VersionCounts]) -> Iterator[Metric]:
    """The families, which are changed in place: made for this scrape, they are nobody else's."""
    more = _Additions()
    for version in counts:
        more.take(version)
    for family in families:
        values = more.by_family.get(family.name)
        if values:
            _add(family, dict(values))
        yield family


def _add(family: Metric, values: Values) -> None:
    samples = []
    for sample in family.samples:
        more = values.pop((sample.name, tuple(sample.labels.items())), 0)
        samples.append(sample._replace(value=sample.value + more) if more else sample)
    # What Python has never counted, such as a code that only others have answered with.
    samples += [Sample(name, dict(labels), value) for (name, labels), value in values.items() if value]
    family.samples = samples


class _Additions:
    """What is to be added, by family."""

    def __init__(self) -> None:
        self.by_family: dict[str, Values] = {}

    def take(self, counts: VersionCounts) -> None:
        labels = tuple(zip(table.VERSION, (counts.model, counts.version), strict=True))
        requests, batches = counts.requests, counts.batches
        self._histogram(table.REQUEST_SECONDS, labels, requests["request"], NANOSECONDS)
        self._histogram(table.DECODE_SECONDS, labels, requests["decode"], NANOSECONDS)
        self._histogram(table.QUEUE_SECONDS, labels, requests["queue"], NANOSECONDS)
        self._histogram(table.ENCODE_SECONDS, labels, requests["encode"], NANOSECONDS)
        self._histogram(table.ASSEMBLY_SECONDS, labels, batches["assembly"], NANOSECONDS)
        self._histogram(table.COMPUTE_SECONDS, labels, batches["compute"], NANOSECONDS)
        self._histogram(table.BATCH_EXAMPLES, labels, batches["examples"], 1)
        codes = {_CODES[code]: count for code, count in requests["codes"].items()}
        self._values(table.REQUESTS, labels, "code", codes)
        self._values(table.BATCHES, labels, "reason", batches["reasons"])
        self._values(table.DROPPED_EXAMPLES, labels, "cause", batches["dropped"])
        self._values(table.REFUSED_EXAMPLES, labels, "cause", batches["refused"])
        self._family(table.REQUESTS_IN_FLIGHT)[table.REQUESTS_IN_FLIGHT.name, labels] = requests["in_flight"]

    def _family(self, row: CounterRow | HistogramRow | GaugeRow) -> Values:
        return self.by_family.setdefault(row.name.removesuffix("_total"), {})

    def _values(self, row: CounterRow, labels: Labels, label: str, values: Mapping[str, int]) -> None:
        family = self._family(row)
        for value, count in values.items():
            family[row.name, (*labels, (label, value))] = count

    def _histogram(self, row: HistogramRow, labels: Labels, counted: Histogram, unit: float) -> None:
        """unit: what one of the sum is, in the family's own unit."""
        family = self._family(row)
        buckets, total = counted
        bounds = [*map(floatToGoString, row.BUCKETS[row.unit]), "+Inf"]
        for bound, count in zip(bounds, accumulate(buckets), strict=True):
            family[f"{row.name}_bucket", (*labels, ("le", bound))] = count
        family[f"{row.name}_count", labels] = sum(buckets)
        family[f"{row.name}_sum", labels] = total * unit
