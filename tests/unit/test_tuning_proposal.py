"""What `seqserve tune` proposes for curves that are made up, and that the batcher keeps to its bound."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqserve.tuning.curves import Curve, Point, doublings, point_of
from seqserve.tuning.proposal import Machine, Miss, Proposal, Sharing, fixed_seconds, propose
from support.batching import Bench, Setup, settle

ROUND_TRIP = 0.002
FORWARD, BATCH = 0.01, 3
MS = 1e-3
CPU = Machine(cores=4)


def point(batch_size: int, threads: int, milliseconds: float, p99: float | None = None) -> Point:
    worst = milliseconds if p99 is None else p99
    return Point(batch_size, threads, 300, milliseconds * MS, worst * MS)


def curve(*points: Point, model: str = "digit") -> Curve:
    return Curve(model, "1", points)


def line(
    fixed: float, each: float, *, threads: tuple[int, ...] = (1,), largest: int = 64, model: str = "digit"
) -> Curve:
    """Forwards that take `fixed` and for each example `each` milliseconds, on however many threads."""
    sizes = doublings(largest)
    return curve(*(point(size, on, fixed + each * size) for on in threads for size in sizes), model=model)


def proposed(*curves: Curve, p99: float, machine: Machine = CPU) -> Proposal:
    outcome = propose(curves, p99 * MS, machine, round_trip_seconds=ROUND_TRIP)
    assert isinstance(outcome, Proposal)
    return outcome


def missed(*curves: Curve, p99: float, machine: Machine = CPU) -> tuple[Miss, ...]:
    outcome = propose(curves, p99 * MS, machine, round_trip_seconds=ROUND_TRIP)
    assert not isinstance(outcome, Proposal)
    return outcome


@dataclass
class House:
    """A batcher whose forwards all take FORWARD. seconds: of each answered caller, from arrival to answer."""

    bench: Bench
    ends: float = math.inf
    arrived: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    async def arrive(self) -> None:
        self.arrived.append(self.bench.clock.now())
        await self.bench.call("a")
        self._look()

    async def pass_time(self, seconds: float) -> None:
        clock, until = self.bench.clock, self.bench.clock.now() + seconds
        while (due := min([self.ends, *(timer.when for timer in clock.pending())])) <= until:
            clock.advance(max(0.0, due - clock.now()))
            if self.ends <= clock.now():
                self.ends = math.inf
                await self.bench.answer()
            await settle()
            self._look()
        clock.advance(until - clock.now())

    def _look(self) -> None:
        """Who has an answer is first come, first served; a forward that has begun ends in its time."""
        now = self.bench.clock.now()
        if self.bench.engine.in_flight is not None and self.ends == math.inf:
            self.ends = now + FORWARD
        answered = sum(caller.done() for caller in self.bench.callers)
        self.seconds += [now - at for at in self.arrived[len(self.seconds) : answered]]


# ---- one model ----


def test_the_largest_batch_is_chosen_of_which_two_fit_into_the_bound() -> None:
    [choice] = proposed(line(1.0, 0.25), p99=10).choices  # 16 take 5 ms, 32 take 9

    assert choice.point.batch_size == 16
    assert choice.bound_seconds == pytest.approx(10 * MS)


def test_the_p99_of_a_forward_counts_and_not_its_median() -> None:
    slow_at_times = curve(point(1, 1, 1), point(2, 1, 1.1, p99=2.4), point(4, 1, 1.2, p99=2.6))

    assert proposed(slow_at_times, p99=5).choices[0].point.batch_size == 2


def test_a_larger_batch_that_makes_hardly_more_is_not_worth_its_time() -> None:
    flat = curve(point(1, 1, 1), point(2, 1, 1.9), point(4, 1, 3.7), point(8, 1, 7.3))

    assert proposed(flat, p99=100).choices[0].point.batch_size == 2  # 1,053/s; 8 make 1,096/s


def test_more_threads_are_chosen_where_they_make_clearly_more() -> None:
    shared = curve(point(8, 1, 8), point(8, 2, 4.2), point(8, 4, 4.1))
    plan = proposed(shared, p99=100)

    assert (plan.sharing.threads, plan.sharing.slots) == (2, 2)
    assert plan.choices[0].point.threads == 2


def test_threads_that_make_hardly_more_are_left_to_others() -> None:
    assert proposed(curve(point(8, 1, 5), point(8, 2, 4.1), point(8, 4, 4.2)), p99=100).sharing.threads == 1


def test_more_threads_are_chosen_where_only_they_keep_to_the_bound() -> None:
    assert proposed(curve(point(1, 1, 6), point(1, 4, 4)), p99=10).sharing.threads == 4


def test_a_gpu_has_one_slot() -> None:
    plan = proposed(line(1.0, 0.01), p99=100, machine=Machine(cores=16, is_gpu=True))

    assert (plan.sharing.threads, plan.sharing.slots) == (1, 1)


# ---- the delay ----


def test_small_models_get_no_delay() -> None:
    assert proposed(line(0.2, 0.001), p99=50).choices[0].max_queue_delay_seconds == 0


def test_a_forward_that_is_dear_whatever_its_size_gets_the_callers_round_trip_as_a_delay() -> None:
    [choice] = proposed(line(10.0, 0.05), p99=50).choices

    assert choice.max_queue_delay_seconds == ROUND_TRIP
    assert choice.fixed_seconds == pytest.approx(10 * MS)
    assert choice.bound_seconds == 2 * choice.point.p99_seconds  # the delay passes meanwhile


def test_a_forward_that_takes_its_time_for_each_example_gets_no_delay() -> None:
    [choice] = proposed(line(3.0, 2.0), p99=500).choices

    assert choice.point.median_seconds > 2 * ROUND_TRIP
    assert choice.max_queue_delay_seconds == 0


def test_what_is_fixed_is_never_more_than_a_smaller_batch_takes() -> None:
    bent = curve(point(1, 1, 0.5), point(2, 1, 12), point(4, 1, 12.1))

    assert fixed_seconds(bent, bent.points[2]) == 0.5 * MS


def test_nobody_is_waited_for_where_a_batch_is_one_example() -> None:
    [choice] = proposed(line(10.0, 1.0, largest=1), p99=50).choices

    assert (choice.point.batch_size, choice.max_queue_delay_seconds) == (1, 0)


@given(
    st.lists(st.floats(1e-6, 10), min_size=1, max_size=9),
    st.floats(1e-6, 10),
    st.integers(1, 64),
)
def test_what_is_proposed_keeps_to_the_bound_whatever_was_measured(
    medians: list[float], p99_seconds: float, cores: int
) -> None:
    points = tuple(Point(2**at, 1, 100, seconds, 1.5 * seconds) for at, seconds in enumerate(medians))
    measured = Curve("digit", "1", points)
    outcome = propose([measured], p99_seconds, Machine(cores), round_trip_seconds=ROUND_TRIP)

    if isinstance(outcome, Proposal):
        [choice] = outcome.choices
        assert 2 * choice.point.p99_seconds == choice.bound_seconds <= p99_seconds
        assert choice.max_queue_delay_seconds <= choice.point.p99_seconds
        assert 0 <= fixed_seconds(measured, choice.point) <= choice.point.median_seconds
    else:
        assert 2 * min(point.p99_seconds for point in points) > p99_seconds


# ---- several models ----


def test_models_with_a_slot_each_do_not_wait_for_each_other() -> None:
    plan = proposed(line(1.0, 0.25), line(2.0, 0.5, model="other"), p99=10)

    assert [choice.point.batch_size for choice in plan.choices] == [16, 4]
    assert [choice.curve.model for choice in plan.choices] == ["digit", "other"]
    assert [choice.bound_seconds for choice in plan.choices] == pytest.approx([10 * MS, 8 * MS])


def test_where_slots_are_fewer_the_others_batches_count() -> None:
    gpu = Machine(cores=16, is_gpu=True)
    plan = proposed(*(line(1.0, 0.25, model=name) for name in "abc"), p99=20, machine=gpu)

    assert plan.sharing.forwards == 4  # in flight, the two others', its own
    assert {choice.point.batch_size for choice in plan.choices} == {16}


def test_threads_that_leave_too_few_slots_are_not_worth_it() -> None:
    faster = [line(1.0, 0.25, threads=(1, 2, 4), model=name) for name in "abcd"]
    half = [
        curve(*(point(one.batch_size, one.threads, 1e3 * one.median_seconds / one.threads**0.5) for one in each.points), model=each.model)
        for each in faster
    ]  # fmt: skip

    assert proposed(*half, p99=1000).sharing.threads == 1
    assert proposed(half[0], p99=1000).sharing.threads == 4


# ---- out of reach ----


def test_where_no_batch_keeps_to_the_bound_the_nearest_is_told() -> None:
    [miss] = missed(curve(point(1, 1, 5), point(2, 1, 6), point(1, 2, 4), point(2, 2, 7)), p99=7)

    assert (miss.point.batch_size, miss.point.threads) == (1, 2)
    assert miss.bound_seconds == pytest.approx(8 * MS)


def test_only_models_that_miss_are_told() -> None:
    [miss] = missed(line(1.0, 0.25), line(20.0, 1.0, model="slow"), p99=10)

    assert miss.curve.model == "slow"


# ---- what it rests on ----


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.floats(0, 2 * FORWARD), min_size=1, max_size=16),
    st.sampled_from([0.0, 0.2 * FORWARD, FORWARD]),
)
async def test_the_batcher_answers_within_two_forwards_while_no_more_wait_than_fit_into_a_batch(
    setup: Setup, gaps: list[float], delay: float
) -> None:
    bench = setup(batch=BATCH, delay=delay)
    house = House(bench)
    for gap in gaps:
        await house.pass_time(gap)
        if bench.batcher.queued_examples < BATCH:
            await house.arrive()
    await house.pass_time(10 * FORWARD)

    assert len(house.seconds) == len(bench.callers)
    assert max(house.seconds) <= 2 * FORWARD + 1e-9


def test_the_p99_is_one_that_was_seen() -> None:
    hundred = point_of(1, 1, [float(at) for at in range(1, 101)])

    assert (hundred.median_seconds, hundred.p99_seconds, hundred.rounds) == (50.5, 99.0, 100)
    assert point_of(1, 1, [3.0]).p99_seconds == 3.0


@pytest.mark.parametrize(
    ("largest", "sizes"), [(1, (1,)), (2, (1, 2)), (8, (1, 2, 4, 8)), (100, (1, 2, 4, 8, 16, 32, 64, 100))]
)
def test_sizes_double_up_to_the_largest(largest: int, sizes: tuple[int, ...]) -> None:
    assert doublings(largest) == sizes


@pytest.mark.parametrize(("models", "slots", "forwards"), [(1, 1, 2), (2, 2, 2), (2, 1, 3), (4, 2, 3.5)])
def test_forwards_that_a_request_takes(models: int, slots: int, forwards: float) -> None:
    assert Sharing(models, 1, slots).forwards == forwards
