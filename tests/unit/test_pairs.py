"""Ratios of measurements that were taken in turns: their median, their interval, and what it says of a target."""

from __future__ import annotations

import numpy as np
import pytest

from bench.pairs import Ratio, in_turns, ratio_of


def pairs_with(*ratios: float) -> list[tuple[float, float]]:
    """Pairs with these ratios, whose own size differs from pair to pair."""
    return [(ratio * size, size) for size, ratio in enumerate(ratios, start=3)]


def test_the_figure_is_the_median_of_the_ratios_and_not_the_ratio_of_the_medians() -> None:
    ratio = ratio_of([(1, 2), (10, 10), (9, 3), (8, 2), (5, 1), (60, 10)])

    assert ratio.median == pytest.approx(3.5)


@pytest.mark.parametrize(("count", "outside"), [(6, 0), (7, 0), (8, 0), (9, 1), (12, 2), (20, 5), (25, 7)])
def test_the_interval_leaves_out_as_many_ratios_as_the_tables_of_the_sign_test(
    count: int, outside: int
) -> None:
    ratio = ratio_of(pairs_with(*range(count, 0, -1)))

    assert ratio.low == pytest.approx(1 + outside)
    assert ratio.high == pytest.approx(count - outside)


@pytest.mark.parametrize("count", [7, 9, 15])
def test_the_interval_holds_the_true_median_at_least_as_often_as_it_says(count: int) -> None:
    random = np.random.default_rng(5)
    drawn = [random.lognormal(size=(count, 2)).tolist() for _ in range(4000)]  # ratios with a median of 1

    intervals = [ratio_of(pairs) for pairs in drawn]

    assert sum(ratio.low <= 1 <= ratio.high for ratio in intervals) >= 0.95 * len(intervals)


def test_too_few_pairs_have_no_interval() -> None:
    with pytest.raises(ValueError, match="5 pairs: an interval of 95 % takes 6"):
        ratio_of(pairs_with(1, 2, 3, 4, 5))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.81, 0.9, "met"),
        (0.8, 0.9, "met"),
        (0.79, 0.9, "undecided"),
        (0.7, 0.8, "undecided"),
        (0.7, 0.79, "missed"),
    ],
)
def test_the_worse_end_decides_whether_a_target_is_met(low: float, high: float, verdict: str) -> None:
    assert Ratio((low + high) / 2, low, high).verdict(0.8) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.1, 1.3, "met"),
        (1.3, 1.35, "met"),
        (1.3, 1.36, "undecided"),
        (1.35, 1.4, "undecided"),
        (1.36, 1.4, "missed"),
    ],
)
def test_the_worse_end_of_an_upper_limit_is_the_higher_one(low: float, high: float, verdict: str) -> None:
    assert Ratio((low + high) / 2, low, high).verdict_below(1.35) == verdict


async def test_measurements_alternate() -> None:
    order: list[str] = []

    async def measured(name: str, rate: float) -> float:
        order.append(name)
        return rate + len(order)

    pairs = await in_turns(lambda: measured("a", 10), lambda: measured("b", 20), 3)

    assert order == ["a", "b", "a", "b", "a", "b"]
    assert pairs == [(11, 22), (13, 24), (15, 26)]


def test_a_ratio_is_written_with_its_interval() -> None:
    assert str(Ratio(0.654, 0.5, 0.8)) == "0.65 (0.50 to 0.80)"
