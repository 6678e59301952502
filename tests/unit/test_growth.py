"""What the soak calls a leak, and what it does not."""

from __future__ import annotations

import numpy as np
import pytest

from soak.footprint import Footprint
from soak.growth import growth
from soak.report import Report
from soak.tally import OK, Tally

MIB = 1 << 20
HOUR = np.arange(0, 3600, 15)


def samples(memory_mib: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[Footprint]:
    return [
        Footprint(float(seconds), int(mib * MIB), descriptors=20, threads=10, tasks=5)
        for seconds, mib in zip(HOUR, memory_mib, strict=True)
    ]


def noise() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.random.default_rng(1).normal(0, 3, len(HOUR))


def test_noise_around_a_level_is_no_leak() -> None:
    found = growth(samples(300 + noise()), "memory_bytes")

    assert not found.is_leak
    assert found.low < 0 < found.high


def test_what_grows_only_while_it_gets_warm_is_no_leak() -> None:
    assert not growth(samples(300 + 50 * np.minimum(HOUR / 900, 1) + noise()), "memory_bytes").is_leak


def test_a_slow_leak_is_found_below_the_noise_of_single_samples() -> None:
    found = growth(samples(300 + HOUR / 3600 * 20 + noise()), "memory_bytes")

    assert found.is_leak
    assert 15 * MIB < found.low < 20 * MIB < found.high < 25 * MIB


def test_a_peak_alone_is_no_leak() -> None:
    memory = 300 + noise()
    memory[-20:] += 100

    assert not growth(samples(memory), "memory_bytes").is_leak


def test_too_few_samples_give_no_verdict() -> None:
    with pytest.raises(ValueError, match="3 samples count"):
        growth(samples(300 + noise())[:4], "memory_bytes")


def test_a_report_names_everything_that_must_not_be() -> None:
    tally = Tally()
    tally.note("unary", "OK", OK)
    tally.note("unary", "UNAVAILABLE", OK, "gone")
    tally.note_wrong("unary", "7")
    grown = [growth(samples(300 + HOUR / 60), "memory_bytes")]
    report = Report("python front", 60, tally, grown, status=1, left={"queued": 2.0, "in flight": 0.0})

    assert report.faults == [
        "1 wrong answers",
        "1 unexpected outcomes",
        "exit status 1",
        "queued was 2 at the end",
        "memory_bytes grows",
    ]
    assert "  ! unary: UNAVAILABLE gone" in report.lines()
    assert not Report("python front", 60, Tally(), [], status=0).faults
