"""In which turns the benchmark measures, and at which rate it overloads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from bench.generator import Generator, GeneratorFailed, Load, Outcome
from bench.labels import AIO, CPP, GATEWAY, JSON_MANY, NATIVE, ONE, SIXTY_FOUR
from bench.rounds import MODELS_ROUND, ROUNDS, SLOW_ROUND
from bench.serving import Server, ServerFailed
from bench.store import MODEL
from bench.trials import Bench, Point, Results, Round, run_turns
from bench.wires import Door, oip_doors
from support.trials import outcome

OURS, THEIRS, BESIDE = Point(GATEWAY, ONE), Point(AIO, ONE), Point(CPP, ONE)


class Rates:
    """A generator whose throughput is another one each time. asked: all loads."""

    def __init__(self, *rates: float) -> None:
        self.rates = iter(rates)
        self.asked: list[Load] = []

    def run(self, door: Door, load: Load, seconds: float) -> Outcome:
        self.asked.append(load)
        return outcome(next(self.rates))


class NoReplies(Rates):
    """A generator that finds nobody."""

    def run(self, door: Door, load: Load, seconds: float) -> Outcome:
        raise GeneratorFailed("no connection")


def bench(rates: Rates, log: Path = Path("no.log"), exit_status: int | None = None) -> Bench:
    process = SimpleNamespace(
        poll=lambda: exit_status,
        cpu_times=lambda: SimpleNamespace(user=1.0, system=0.5),
        memory_info=lambda: SimpleNamespace(rss=1000),
        children=lambda **_: [],
    )
    server = Server(oip_doors("127.0.0.1:1"), process, log, health="127.0.0.1:1")
    servers = {(front, (MODEL, 1)): server for front in (GATEWAY, AIO, CPP)}
    return Bench(cast("Generator", rates), servers, 1.0)


def test_points_alternate_and_what_stands_beside_follows_the_first_of_them() -> None:
    turns = list(Round([OURS, THEIRS], [BESIDE]).turns(pairs=3, beside=2))

    assert turns == [OURS, THEIRS, BESIDE, OURS, THEIRS, BESIDE, OURS, THEIRS]


def test_a_round_without_targets_is_short() -> None:
    assert list(Round([], [OURS, BESIDE]).turns(pairs=7, beside=2)) == [OURS, BESIDE, OURS, BESIDE]


def test_every_point_of_a_target_is_measured_in_every_pair() -> None:
    turns = list(ROUNDS["64"].turns(pairs=7, beside=2))

    assert sum(point == Point(GATEWAY, SIXTY_FOUR) for point in turns) == 7
    assert sum(point.at_peaks > 0 and point.front == GATEWAY for point in turns) == 7


@pytest.mark.parametrize("each", [*ROUNDS.values(), SLOW_ROUND, MODELS_ROUND])
def test_no_point_is_measured_twice_in_a_turn(each: Round) -> None:
    turns = list(each.turns(pairs=1, beside=1))

    assert len({(point.front, point.load.name) for point in turns}) == len(turns) > 0


def test_an_overload_comes_after_the_peak_that_it_is_measured_by() -> None:
    for each in (*ROUNDS.values(), SLOW_ROUND):
        seen = []
        for point in each.turns(pairs=1, beside=1):
            assert point.peak is None or (point.front, point.peak) in seen
            seen.append((point.front, point.load))


def test_servers_and_forms_that_are_not_there_are_left_out() -> None:
    rates = Rates(1000.0)

    run_turns(bench(rates), [Point(NATIVE, ONE), Point(GATEWAY, JSON_MANY), OURS], lambda _: None)

    assert [load.name for load in rates.asked] == [ONE.name]


def test_an_overload_is_so_many_times_the_last_peak() -> None:
    rates = Rates(1000.0, 900.0, 1200.0, 950.0)
    peak, overload = Point(GATEWAY, SIXTY_FOUR), Point(GATEWAY, Load("overload"), 2.0, SIXTY_FOUR)

    run_turns(bench(rates), [peak, overload, peak, overload], lambda _: None)

    assert [load.rate for load in rates.asked] == [0.0, 2000.0, 0.0, 2400.0]


def test_each_trial_is_said_as_it_ends() -> None:
    said: list[str] = []

    run_turns(bench(Rates(1000.0, 2500.0)), [OURS, THEIRS], said.append)

    assert said[0].startswith("[1/2] gateway, Python front, 1 caller: 1,000 examples/s, p50 0.10 ms")
    assert said[1].startswith("[2/2] empty grpc.aio, 1 caller: 2,500 examples/s")


def test_a_server_that_ended_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("out of memory")

    with pytest.raises(ServerFailed, match="the server ended under 1 caller:\nout of memory"):
        bench(NoReplies(), log, exit_status=-9).measure(OURS, Results())


def test_another_server_that_fails_is_given_up_and_the_rest_goes_on() -> None:
    class FailsOnce(Rates):
        def run(self, door: Door, load: Load, seconds: float) -> Outcome:
            if next(self.rates) == 0.0:
                raise GeneratorFailed("no connection")
            return outcome()

    said: list[str] = []
    rates = FailsOnce(1000.0, 0.0, 1000.0)

    measured = run_turns(replace(bench(rates), others=(AIO,)), [OURS, THEIRS, OURS, THEIRS], said.append)

    assert [trial.front for trial in measured.trials] == [GATEWAY, GATEWAY]
    assert measured.failed == {AIO: "no connection"}
    assert "empty grpc.aio is given up: no connection" in said


def test_a_generator_that_failed_is_not_laid_to_the_server() -> None:
    with pytest.raises(GeneratorFailed, match="no connection"):
        bench(NoReplies()).measure(OURS, Results())
