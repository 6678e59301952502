"""Our histograms say to the letter what prometheus_client's own would."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest

from seqserve.metrics.histograms import Histograms
from seqserve.metrics.rows import HistogramRow

SECONDS = HistogramRow("seqserve_test_seconds", "Seconds of a test.", "Nothing.", ("model", "version"))
EXAMPLES = HistogramRow(
    "seqserve_test_examples", "Examples of a test.", "Nothing.", ("model", "version"), "examples"
)


@pytest.mark.parametrize("row", [SECONDS, EXAMPLES], ids=["seconds", "examples"])
@pytest.mark.parametrize("amounts", [[], [0.0], [1, 2, 3, 1024, 1025], [0.00001, 0.0000101, 0.3, 50.0, 1e9]])
def test_a_scrape_reads_as_of_prometheus_client(row: HistogramRow, amounts: list[float]) -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client's
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    for histogram in (Histograms(row, ours), row.make(theirs)):
        for version in ("1", "2"):
            series = histogram.labels('a "model"', version)
            for amount in amounts:
                series.observe(amount)

    assert generate_latest(ours) == generate_latest(theirs)


def test_a_series_goes_on_counting_until_it_is_removed() -> None:
    registry = CollectorRegistry()
    histograms = Histograms(SECONDS, registry)
    labels = {"model": "tiny", "version": "1"}
    for _ in range(2):
        histograms.labels("tiny", "1").observe(1.0)
    assert registry.get_sample_value("seqserve_test_seconds_count", labels) == 2.0

    histograms.remove_by_labels(labels)
    histograms.remove_by_labels(labels)

    assert registry.get_sample_value("seqserve_test_seconds_count", labels) is None


def test_a_name_is_taken_once() -> None:
    registry = CollectorRegistry()
    Histograms(SECONDS, registry)

    with pytest.raises(ValueError, match="Duplicated"):
        SECONDS.make(registry)
