"""Each target is judged by the measurements that belong to it."""

from __future__ import annotations

import pytest

from bench.generator import Load
from bench.starts import Start
from bench.trials import AIO, GATEWAY, ONE, OVERLOAD, SIXTEEN, SIXTY_FOUR, STREAM, Results, Trial
from bench.verdicts import (
    COLD_START,
    GOODPUT,
    HEALTH,
    LATENCY,
    MEMORY,
    STREAMS,
    THROUGHPUT,
    Judged,
    Target,
    judge,
)
from support.trials import outcome, results, trial

FORWARD = {1: 20e-6, 256: 200e-6}
PAIRS = 6


def series(front: str, load: Load, throughput: float, p50_us: float = 100.0) -> list[Trial]:
    return [trial(front, load, outcome(throughput, p50_us)) for _ in range(PAIRS)]


def judged(target: Target, measured: Results, starts: list[Start] | None = None) -> Judged:
    return next(each for each in judge(measured, starts or [], FORWARD) if each.target == target)


@pytest.mark.parametrize(("ours", "verdict"), [(800.0, "met"), (799.0, "missed")])
def test_throughput_is_held_against_the_empty_python_server(ours: float, verdict: str) -> None:
    measured = results(series(GATEWAY, SIXTY_FOUR, ours), series(AIO, SIXTY_FOUR, 1000.0))

    assert judged(THROUGHPUT, measured).verdict == verdict


@pytest.mark.parametrize(("ours", "verdict"), [(162.0, "met"), (163.0, "missed")])
def test_latency_is_held_against_the_empty_server_and_the_forward(ours: float, verdict: str) -> None:
    measured = results(
        series(GATEWAY, ONE, 1000.0, ours), series(AIO, ONE, 1000.0, 100.0)
    )  # 1.35 * (100 + 20)

    assert judged(LATENCY, measured).verdict == verdict


def test_a_stream_is_held_against_as_many_unary_callers() -> None:
    measured = results(series(GATEWAY, STREAM, 3000.0), series(GATEWAY, SIXTEEN, 2000.0))

    assert judged(STREAMS, measured).ratio.median == pytest.approx(1.5)


def test_goodput_is_held_against_the_peak_before_it() -> None:
    measured = results(
        [
            each
            for peak in (1000.0, 2000.0, 1500.0, 1100.0, 1200.0, 1300.0)
            for each in (
                trial(GATEWAY, SIXTY_FOUR, outcome(peak)),
                trial(GATEWAY, OVERLOAD, outcome(0.7 * peak)),
            )
        ]
    )

    ratio = judged(GOODPUT, measured).ratio

    assert (ratio.low, ratio.high) == pytest.approx((0.7, 0.7))


def test_one_probe_that_took_too_long_leaves_health_undecided() -> None:
    measured = results(
        [trial(GATEWAY, OVERLOAD, health_seconds=seconds) for seconds in (0.1, 0.1, 0.1, 0.1, 0.1, 5)]
    )

    assert judged(HEALTH, measured).verdict == "undecided"


def test_start_and_memory_are_held_against_the_import() -> None:
    starts = [Start(3.1, 290_000_000, 2.0, 230_000_000) for _ in range(PAIRS)]

    assert judged(COLD_START, Results(), starts).verdict == "met"  # 1.3 * 2.0 + 0.5
    assert judged(MEMORY, Results(), starts).verdict == "met"
    slower = [Start(3.2, 291_000_000, 2.0, 230_000_000) for _ in range(PAIRS)]
    assert judged(COLD_START, Results(), slower).verdict == "missed"
    assert judged(MEMORY, Results(), slower).verdict == "missed"


def test_what_was_not_measured_is_not_judged() -> None:
    measured = results(series(GATEWAY, SIXTY_FOUR, 1000.0), series(AIO, SIXTY_FOUR, 1000.0))

    assert [each.target for each in judge(measured, [], FORWARD)] == [THROUGHPUT]
    assert judge(Results(), [], FORWARD) == []
