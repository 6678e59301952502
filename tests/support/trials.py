"""Outcomes of the benchmark as they might have been measured."""

from __future__ import annotations

from collections.abc import Iterable

from bench.generator import Latency, Load, Outcome
from bench.trials import Results, Trial

PAIRS = 6


def latency(count: int, p50_us: float = 100.0, p99_us: float = 300.0) -> Latency:
    return Latency(count, p50_us, p99_us, p999_us=2 * p99_us, max_us=3 * p99_us)


def outcome(throughput: float = 1000.0, p50_us: float = 100.0, **refused: Latency) -> Outcome:
    """One second of good replies, and replies with other codes."""
    codes = {"OK": latency(int(throughput), p50_us), **refused}
    requests = sum(each.count for each in codes.values())
    return Outcome(requests, 1.0, throughput, codes, 0, 0.0, 0.25, "1.51.1")


def trial(
    front: str,
    load: Load,
    measured: Outcome | None = None,
    health_seconds: float = 0.0,
    memory_bytes: int = 300_000_000,
) -> Trial:
    return Trial(front, load, measured or outcome(), 0.9, memory_bytes, health_seconds)


def series(front: str, load: Load, throughput: float = 1000.0, p50_us: float = 100.0) -> list[Trial]:
    """The same trial as often as an interval takes."""
    return [trial(front, load, outcome(throughput, p50_us)) for _ in range(PAIRS)]


def results(*trials: Iterable[Trial]) -> Results:
    """Several series, one after the other."""
    return Results([each for series in trials for each in series])
