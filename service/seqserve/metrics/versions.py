"""What is counted and measured for each model version; see table.py.

A version's children are looked up once, when it is loaded, and never for a request.
"""

from __future__ import annotations

from typing import get_args

from prometheus_client import CollectorRegistry, Counter

from seqserve.batching.admission import DropCause, FlushReason, RefusalCause
from seqserve.batching.observers import Phases, VersionObserver
from seqserve.metrics import table
from seqserve.metrics.histograms import Histograms


class VersionFamilies:
    """The metrics themselves, with a child for each version."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.request = Histograms(table.REQUEST_SECONDS, registry)
        self.decode = Histograms(table.DECODE_SECONDS, registry)
        self.queue = Histograms(table.QUEUE_SECONDS, registry)
        self.assembly = Histograms(table.ASSEMBLY_SECONDS, registry)
        self.compute = Histograms(table.COMPUTE_SECONDS, registry)
        self.encode = Histograms(table.ENCODE_SECONDS, registry)
        self.examples = Histograms(table.BATCH_EXAMPLES, registry)
        self.batches = table.BATCHES.make(registry)
        self.failed = table.FAILED_BATCHES.make(registry)
        self.overdue = table.OVERDUE_BATCHES.make(registry)
        self.recovered = table.RECOVERED_BATCHES.make(registry)
        self.dropped = table.DROPPED_EXAMPLES.make(registry)
        self.refused = table.REFUSED_EXAMPLES.make(registry)

    def forget(self, model: str, version: str) -> None:
        """Drop a version's children; what it counts afterwards starts at zero."""
        families: tuple[Counter | Histograms, ...] = (
            self.request, self.decode, self.queue, self.assembly, self.compute, self.encode, self.examples,
            self.batches, self.failed, self.overdue, self.recovered, self.dropped, self.refused,
        )  # fmt: skip
        for family in families:
            family.remove_by_labels({"model": model, "version": version})


class VersionMetrics(VersionObserver):
    """Hears of one version. Its series start at zero, so that rates see the first step."""

    def __init__(self, families: VersionFamilies, model: str, version: str) -> None:
        labels = (model, version)
        self._request = families.request.labels(*labels)
        self._decode = families.decode.labels(*labels)
        self._queue = families.queue.labels(*labels)
        self._assembly = families.assembly.labels(*labels)
        self._compute = families.compute.labels(*labels)
        self._encode = families.encode.labels(*labels)
        self._examples = families.examples.labels(*labels)
        self._failed = families.failed.labels(*labels)
        self._overdue = families.overdue.labels(*labels)
        self._recovered = families.recovered.labels(*labels)
        self._batches = {reason: families.batches.labels(*labels, reason) for reason in get_args(FlushReason)}
        self._dropped = {cause: families.dropped.labels(*labels, cause) for cause in get_args(DropCause)}
        self._refused = {cause: families.refused.labels(*labels, cause) for cause in get_args(RefusalCause)}

    def request_answered(self, examples: int, phases: Phases) -> None:  # noqa: ARG002 - as declared
        """See VersionObserver."""
        self._request.observe(phases.total_seconds)
        self._decode.observe(phases.decode_seconds)
        self._queue.observe(phases.queue_seconds)

    def request_encoded(self, seconds: float) -> None:
        """See VersionObserver."""
        self._encode.observe(seconds)

    def batch_computed(  # its splitting is a part of no phase that is asked for
        self,
        examples: int,  # noqa: ARG002 - as declared
        assembly_seconds: float,
        compute_seconds: float,
        split_seconds: float,  # noqa: ARG002 - as declared
    ) -> None:
        """See VersionObserver."""
        self._assembly.observe(assembly_seconds)
        self._compute.observe(compute_seconds)

    def batch_started(self, examples: int, reason: FlushReason, queued_examples: int) -> None:  # noqa: ARG002 - as declared
        """See BatchObserver."""
        self._examples.observe(examples)
        self._batches[reason].inc()

    def batch_failed(self, examples: int, error: Exception) -> None:  # noqa: ARG002 - as declared
        """See BatchObserver."""
        self._failed.inc()

    def batch_overdue(self, examples: int) -> None:  # noqa: ARG002 - as declared
        """See BatchObserver."""
        self._overdue.inc()

    def batch_recovered(self, compute_seconds: float, error: Exception | None) -> None:  # noqa: ARG002 - as declared
        """See BatchObserver."""
        self._recovered.inc()

    def dropped(self, cause: DropCause, examples: int) -> None:
        """See BatchObserver."""
        self._dropped[cause].inc(examples)

    def refused(self, cause: RefusalCause, examples: int) -> None:
        """See BatchObserver."""
        self._refused[cause].inc(examples)
