"""What a queue outside of Python counts for itself; metrics and statistics add it to their own.

Histograms are counts by bucket and their sum; times are in nanoseconds. All of it only grows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypedDict

Histogram = tuple[Sequence[int], int]
"""Counts by bucket, the last for what is beyond all bounds; and the sum."""


class BatchCounts(TypedDict):
    """One version's batches.

    examples: of every batch; assembly, compute: of those that the engine answered. reasons: batches.
    dropped, refused: examples. by_size: examples → batches, and their assembly, computing and splitting.
    """

    assembly: Histogram
    compute: Histogram
    examples: Histogram
    reasons: dict[str, int]
    dropped: dict[str, int]
    refused: dict[str, int]
    by_size: dict[int, tuple[int, int, int, int]]


class RequestCounts(TypedDict):
    """One version's requests.

    codes: of gRPC. examples: of answered requests. compute_ns: each with its batch's whole time. failed:
    requests without an answer. answered_at_ms: since the epoch, 0 before the first. encode: of replies.
    """

    codes: dict[int, int]
    examples: int
    compute_ns: int
    failed: int
    failed_ns: int
    answered_at_ms: int
    in_flight: int
    request: Histogram
    decode: Histogram
    queue: Histogram
    encode: Histogram


class VersionCounts(NamedTuple):
    """What was counted for one version."""

    model: str
    version: str
    batches: BatchCounts
    requests: RequestCounts


ReadCounts = Callable[[], Sequence[VersionCounts]]


def no_counts() -> Sequence[VersionCounts]:
    """Where everything is counted in Python."""
    return ()
