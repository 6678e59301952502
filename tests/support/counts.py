"""Counts as a queue outside of Python tells them."""

from __future__ import annotations

from typing import Any

from seqserve.batching.ledgers import BatchCounts, RequestCounts, VersionCounts
from seqserve.metrics.rows import EXAMPLES, SECONDS

MS = 1_000_000  # nanoseconds


def histogram(bounds: tuple[float, ...], *values: float, unit: int = 1) -> tuple[list[int], int]:
    """What a histogram of these values tells; unit: of the sum, for one of the values."""
    buckets = [0] * (len(bounds) + 1)
    for value in values:
        buckets[sum(bound < value for bound in bounds)] += 1
    return buckets, round(sum(values) * unit)


def seconds(*values: float) -> tuple[list[int], int]:
    """A histogram of times."""
    return histogram(SECONDS, *values, unit=1000 * MS)


def batch_counts(**changed: Any) -> BatchCounts:
    """Nothing, but for what is changed."""
    counts: Any = {
        "assembly": seconds(), "compute": seconds(), "examples": histogram(EXAMPLES), "reasons": {},
        "dropped": {}, "refused": {}, "by_size": {},
    } | changed  # fmt: skip
    return counts  # type: ignore[no-any-return]  # any key may be changed


def request_counts(**changed: Any) -> RequestCounts:
    """Nothing, but for what is changed."""
    counts: Any = {
        "codes": {}, "examples": 0, "compute_ns": 0, "failed": 0, "failed_ns": 0, "answered_at_ms": 0,
        "in_flight": 0, "request": seconds(), "decode": seconds(), "queue": seconds(), "encode": seconds(),
    } | changed  # fmt: skip
    return counts  # type: ignore[no-any-return]  # any key may be changed


def version_counts(
    version: str = "1", *, batches: BatchCounts | None = None, requests: RequestCounts | None = None
) -> VersionCounts:
    """Of the model `tiny`."""
    return VersionCounts("tiny", version, batches or batch_counts(), requests or request_counts())
