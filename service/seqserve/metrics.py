"""Every metric the gateway has, on a registry that is passed in.

Labels carry only models of the repository; anything else is `unknown`, so that callers cannot make
time series.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from seqserve import __version__
from seqserve.admission import BatchObserver, DropCause, FlushReason, RefusalCause
from seqserve.repository import UNKNOWN, ModelState, ModelVersion

SECONDS = tuple(scale * step for scale in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0) for step in (1, 2.5, 5))
EXAMPLES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
VERSION = ("model", "version")


class Metrics:
    """All of them; dashboards and alerts rely on these names."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, label: str) -> Counter:
            return Counter(name, text, (*VERSION, label), registry=registry)

        def seconds(name: str, text: str) -> Histogram:
            return Histogram(name, text, VERSION, buckets=SECONDS, registry=registry)

        self._requests = counter("seqserve_requests", "Inference requests by gRPC status code.", "code")
        self._request_seconds = seconds("seqserve_request_seconds", "Decoding to checked answer.")
        self.queue_seconds = seconds("seqserve_queue_seconds", "A request's wait for its batch.")
        self.compute_seconds = seconds("seqserve_compute_seconds", "The engine's time for a batch.")
        self.batch_examples = Histogram(
            "seqserve_batch_examples", "Examples in a batch.", VERSION, buckets=EXAMPLES, registry=registry
        )
        self.batches = counter("seqserve_batches", "Batches by what sealed them.", "reason")
        self.failed_batches = Counter(
            "seqserve_failed_batches", "Batches that the engine did not answer.", VERSION, registry=registry
        )
        self.queued_examples = Gauge(
            "seqserve_queued_examples", "Left waiting when a batch was sealed.", VERSION, registry=registry
        )
        self.dropped_examples = counter(
            "seqserve_dropped_examples", "Admitted, and gone before their batch was sealed.", "cause"
        )
        self.refused_examples = counter("seqserve_refused_examples", "Not admitted to the queue.", "cause")
        self._state = Gauge(
            "seqserve_model_state", "1 for a version's state.", (*VERSION, "state"), registry=registry
        )
        Info("seqserve_build", "What runs.", registry=registry).info({"version": __version__})

    def count_request(self, model: str, version: str, code: str, seconds: float) -> None:
        """One inference request is over."""
        self._requests.labels(model, version, code).inc()
        if code == "OK":
            self._request_seconds.labels(model, version).observe(seconds)

    def count_malformed(self) -> None:
        """A message that is no valid protobuf belongs to no model."""
        self._requests.labels(UNKNOWN, UNKNOWN, "INVALID_ARGUMENT").inc()

    async def follow(self, changed: ModelVersion) -> None:
        """A listener of the repository."""
        for state in ModelState:
            is_now = state is changed.state
            self._state.labels(changed.name, changed.version, state.value).set(int(is_now))

    def of_batches(self, model: str, version: str) -> BatchMetrics:
        """The observer of one version's batcher."""
        return BatchMetrics(self, model, version)


class BatchMetrics(BatchObserver):
    """Hears one version's batcher. Label look-ups happen here once, not for each batch."""

    def __init__(self, metrics: Metrics, model: str, version: str) -> None:
        self._metrics = metrics
        self._labels = (model, version)
        self._compute_seconds = metrics.compute_seconds.labels(model, version)
        self._examples = metrics.batch_examples.labels(model, version)
        self._queued = metrics.queued_examples.labels(model, version)

    def batch_started(self, examples: int, reason: FlushReason, queued_examples: int) -> None:
        """See BatchObserver."""
        self._examples.observe(examples)
        self._queued.set(queued_examples)
        self._metrics.batches.labels(*self._labels, reason).inc()

    def batch_finished(self, examples: int, compute_seconds: float) -> None:  # noqa: ARG002 - as declared
        """See BatchObserver."""
        self._compute_seconds.observe(compute_seconds)

    def batch_failed(self, examples: int, error: Exception) -> None:  # noqa: ARG002 - as declared
        """See BatchObserver."""
        self._metrics.failed_batches.labels(*self._labels).inc()

    def dropped(self, cause: DropCause, examples: int) -> None:
        """See BatchObserver."""
        self._metrics.dropped_examples.labels(*self._labels, cause).inc(examples)

    def refused(self, cause: RefusalCause, examples: int) -> None:
        """See BatchObserver."""
        self._metrics.refused_examples.labels(*self._labels, cause).inc(examples)
