"""What the soak calls a leak, and what it does not."""

from __future__ import annotations

import numpy as np
import pytest

from soak.growth import WARM_UP, allowed, found_out, growth
from soak.report import Report
from soak.tally import OK, Tally
from support.footprint import Footprint

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


def test_what_a_short_run_may_grow_is_less() -> None:
    minutes = [allowed("memory_bytes", 60 * minutes) / MIB for minutes in (0, 4, 40, 400)]

    assert minutes == pytest.approx([3, 3.5, 8, 8])


@pytest.mark.parametrize("name", ["memory_bytes", "descriptors", "threads", "tasks"])
@pytest.mark.parametrize("run_seconds", [60.0, 3600.0])
def test_the_control_leaks_a_few_times_what_is_allowed(run_seconds: float, name: str) -> None:
    seconds = run_seconds * (1 - WARM_UP)

    assert found_out(run_seconds, 4)[name] * seconds == pytest.approx(4 * allowed(name, seconds))


@pytest.mark.parametrize(("times", "is_found"), [(0.8, False), (1.3, True)])
def test_a_leak_is_found_from_what_is_allowed_on(times: float, is_found: bool) -> None:  # noqa: FBT001 - a parameter
    rate = found_out(3600, times)["memory_bytes"] / MIB
    level = np.random.default_rng(1).normal(0, 0.5, len(HOUR))

    assert growth(samples(300 + rate * HOUR + level), "memory_bytes").is_leak == is_found


def test_no_samples_give_no_verdict() -> None:
    with pytest.raises(ValueError, match="0 samples count"):
        growth([], "memory_bytes")


def test_too_few_samples_give_no_verdict() -> None:
    with pytest.raises(ValueError, match="3 samples count"):
        growth(samples(300 + noise())[:4], "memory_bytes")


def test_a_report_names_everything_that_must_not_be() -> None:
    tally = Tally()
    tally.note("unary", "OK", OK)
    tally.note("unary", "UNAVAILABLE", OK, "gone")
    tally.note_wrong("unary", "7")
    grown = [growth(samples(300 + HOUR / 60), "memory_bytes")]
    report = Report(
        "python front",
        60,
        tally,
        grown,
        status=1,
        left={"queued": 2.0, "in flight": 0.0, "tasks": None},
        unmeasured=["no threads"],
    )

    assert report.faults == [
        "1 wrong answers",
        "1 unexpected outcomes",
        "exit status 1",
        "queued was 2 at the end",
        "tasks was not shown at the end",
        "no threads",
        "memory_bytes grows",
    ]
    assert "  ! unary: UNAVAILABLE gone" in report.lines()
    assert not Report("python front", 60, Tally(), [], status=0).faults
