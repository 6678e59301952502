"""How late the event loop is."""

from __future__ import annotations

import pytest

from seqserve.metrics.loop_lag import LoopLag
from support.batching import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_loop_that_is_on_time_lags_by_nothing_once_a_second(clock: FakeClock) -> None:
    lags: list[float] = []
    LoopLag(lags.append, clock).start()

    clock.advance(3.5)

    assert lags == [0.0, 0.0, 0.0]


def test_a_blocked_loop_lags_by_the_time_that_it_was_blocked(clock: FakeClock) -> None:
    lags: list[float] = []
    LoopLag(lags.append, clock).start()
    blocked_timer = clock.timers.pop()

    clock.advance(3.5)
    blocked_timer.callback()
    clock.advance(1.0)

    assert lags == [2.5, 0.0]


def test_once_stopped_it_measures_no_more(clock: FakeClock) -> None:
    lags: list[float] = []
    lag = LoopLag(lags.append, clock)
    lag.stop()
    lag.start()
    clock.advance(1.0)

    lag.stop()
    clock.advance(10.0)

    assert lags == [0.0]
    assert clock.pending() == []
