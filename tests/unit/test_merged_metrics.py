"""Series that Python and a queue outside of it have both counted."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Metric

from seqserve.batching.ledgers import VersionCounts
from seqserve.batching.observers import Phases
from seqserve.metrics.counts import Metrics
from seqserve.metrics.repository import Scrape
from seqserve.metrics.rows import EXAMPLES
from seqserve.metrics.table import REQUESTS_IN_FLIGHT
from support.counts import batch_counts, histogram, request_counts, seconds, version_counts

TINY = {"model": "tiny", "version": "1"}


class Page:
    """What is served of the metrics and of counts from elsewhere."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.version = self.metrics.of_version("tiny", "1")
        self.counts: list[VersionCounts] = []
        self.gauges: list[Metric] = []

    def value(self, name: str, **labels: str) -> float | None:
        """Of one series; None where it is not served."""
        found = [
            sample.value
            for family in Scrape(self.registry, self.gauges, self.counts).collect()
            for sample in family.samples
            if sample.name == name and sample.labels == TINY | labels
        ]
        assert len(found) <= 1, "a series that is served twice"
        return found[0] if found else None


def test_histograms_add_up_bucket_by_bucket() -> None:
    page = Page()
    page.version.request_answered(1, Phases(0.002, 0.0001, 0.0, 0.001))
    page.counts = [version_counts(requests=request_counts(request=seconds(0.0009, 0.3)))]
    assert page.value("seqserve_request_seconds_bucket", le="0.001") == 1
    assert page.value("seqserve_request_seconds_bucket", le="0.0025") == 2
    assert page.value("seqserve_request_seconds_bucket", le="0.5") == 3
    assert page.value("seqserve_request_seconds_bucket", le="+Inf") == 3
    assert page.value("seqserve_request_seconds_count") == 3
    assert round(page.value("seqserve_request_seconds_sum") or 0, 6) == 0.3029


def test_every_phase_and_every_cause_is_added() -> None:
    page = Page()
    page.counts = [
        version_counts(
            batches=batch_counts(
                assembly=seconds(1.0), compute=seconds(2.0, 2.0), examples=histogram(EXAMPLES, 1, 3, 2000),
                reasons={"full": 3, "idle": 4}, dropped={"departed": 5}, refused={"full": 6},
            ),
            requests=request_counts(decode=seconds(3.0), queue=seconds(4.0), encode=seconds(5.0)),
        )
    ]  # fmt: skip
    for phase, total in {"assembly": 1.0, "compute": 4.0, "decode": 3.0, "queue": 4.0, "encode": 5.0}.items():
        assert page.value(f"seqserve_{phase}_seconds_sum") == total
    assert page.value("seqserve_batch_examples_sum") == 2004
    assert page.value("seqserve_batch_examples_bucket", le="4.0") == 2
    assert page.value("seqserve_batch_examples_bucket", le="+Inf") == 3
    assert page.value("seqserve_batches_total", reason="full") == 3
    assert page.value("seqserve_batches_total", reason="drain") == 0
    assert page.value("seqserve_dropped_examples_total", cause="departed") == 5
    assert page.value("seqserve_refused_examples_total", cause="full") == 6


def test_requests_are_counted_by_code_also_where_python_never_saw_that_code() -> None:
    page = Page()
    page.metrics.count_request("tiny", "1", "OK")
    page.counts = [version_counts(requests=request_counts(codes={0: 4, 8: 2, 5: 3, 3: 0}))]
    assert page.value("seqserve_requests_total", code="OK") == 5
    assert page.value("seqserve_requests_total", code="RESOURCE_EXHAUSTED") == 2
    assert page.value("seqserve_requests_total", code="NOT_FOUND") == 3
    assert page.value("seqserve_requests_total", code="INVALID_ARGUMENT") is None


def test_requests_in_flight_are_pythons_and_others() -> None:
    page = Page()
    in_flight = REQUESTS_IN_FLIGHT.family()
    in_flight.add_metric(["tiny", "1"], 2)
    page.gauges = [in_flight]
    page.counts = [version_counts(requests=request_counts(in_flight=3))]
    assert page.value("seqserve_requests_in_flight") == 5


def test_other_versions_and_the_registry_itself_stay_as_they_are() -> None:
    page = Page()
    page.metrics.of_version("tiny", "2").request_encoded(0.5)
    page.counts = [version_counts(requests=request_counts(encode=seconds(0.1)))]
    for _ in range(2):
        assert page.value("seqserve_encode_seconds_count") == 1, "each scrape adds once"
        assert page.value("seqserve_encode_seconds_count", version="2") == 1
    assert page.registry.get_sample_value("seqserve_encode_seconds_count", TINY) == 0


def test_without_counts_the_page_is_pythons() -> None:
    page = Page()
    page.version.request_encoded(0.5)
    assert page.value("seqserve_encode_seconds_count") == 1
    assert page.value("seqserve_requests_total", code="OK") == 0
    assert page.value("seqserve_requests_total", code="NOT_FOUND") is None
