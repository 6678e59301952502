"""Each target is judged by the measurements that belong to it, or says why there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.growth import FURTHER, Growth
from bench.labels import (
    AIO,
    BATCH,
    CPP,
    GATEWAY,
    NATIVE,
    ON_TORCHSERVE,
    ONE,
    OVERLOAD,
    SIXTEEN,
    SIXTY_FOUR,
    SLOW_OVERLOADS,
    SLOW_PEAK,
    STREAM,
    with_models,
)
from bench.machine import has_gpu
from bench.measured import Measured
from bench.pairs import Ratio
from bench.peers import mosec, torchserve, triton
from bench.starts import Start
from bench.targets import GPU, TARGETS
from bench.trials import Trial
from bench.verdicts import NO_REASON, NO_VERDICT, NOT_RUN, Judged, judge, without_reasons
from support.trials import PAIRS, latency, outcome, results, series, trial

FORWARD = {1: 20e-6, 256: 200e-6}


def measured(*trials: list[Trial]) -> Measured:
    return Measured(results(*trials), FORWARD)


def judged(name: str, of: Measured, **reasons: str) -> Judged:
    [found] = [each for each in judge(of, reasons) if each.target.name == name]
    return found


def test_every_target_has_a_name_of_its_own() -> None:
    assert len({target.name for target in TARGETS}) == len(TARGETS)


@pytest.mark.parametrize(("ours", "verdict"), [(800.0, "met"), (799.0, "missed")])
def test_throughput_is_held_against_the_empty_python_server(ours: float, verdict: str) -> None:
    of = measured(series(GATEWAY, SIXTY_FOUR, ours), series(AIO, SIXTY_FOUR, 1000.0))

    assert judged("python-64", of).verdict == verdict


@pytest.mark.parametrize(("ours", "verdict"), [(162.0, "met"), (163.0, "missed")])
def test_latency_is_held_against_the_empty_server_and_the_forward(ours: float, verdict: str) -> None:
    of = measured(series(GATEWAY, ONE, 1000.0, ours), series(AIO, ONE, 1000.0, 100.0))  # 1.35 * (100 + 20)

    assert judged("python-latency", of).verdict == verdict


@pytest.mark.parametrize(("ours", "verdict"), [(150.0, "met"), (151.0, "missed")])
def test_the_native_front_is_held_against_the_cpp_server(ours: float, verdict: str) -> None:
    of = measured(series(NATIVE, ONE, 1000.0, ours), series(CPP, ONE, 1000.0, 100.0))  # 1.25 * (100 + 20)

    assert judged("native-latency", of).verdict == verdict


@pytest.mark.parametrize(("front", "name"), [(GATEWAY, "python-streams"), (NATIVE, "native-streams")])
def test_a_stream_is_held_against_as_many_unary_callers_of_its_front(front: str, name: str) -> None:
    of = measured(series(front, STREAM, 3000.0), series(front, SIXTEEN, 2000.0))

    assert judged(name, of).ratio == Ratio(1.5, 1.5, 1.5)


def test_256_examples_are_held_against_the_message_and_the_forward() -> None:
    # 1 / (1/5000 s + 200 µs) = 2500 requests a second
    of = measured(series(NATIVE, BATCH, 2000.0), series(CPP, BATCH, 5000.0))

    ratio = judged("native-256", of).ratio

    assert ratio is not None
    assert ratio.median == pytest.approx(0.8)


def test_peers_are_represented_by_the_quickest_of_them() -> None:
    of = measured(
        series(NATIVE, SIXTEEN, 3000.0),
        series(triton.LABEL, SIXTEEN, 1000.0),
        series(mosec.BATCHED, SIXTEEN, 1500.0),
        series(mosec.SINGLE, SIXTEEN, 500.0),
    )

    found = judged("native-16-peer", of)
    assert (found.ratio, found.against) == (Ratio(2.0, 2.0, 2.0), mosec.BATCHED)
    assert judged("native-16-peer-stretch", of).verdict == "met"


def test_a_peer_that_is_not_there_leaves_its_target_unmeasured() -> None:
    of = measured(series(NATIVE, SIXTEEN, 3000.0), series(mosec.BATCHED, SIXTEEN, 1500.0))
    of.absent[triton.LABEL] = 'make bench PEERS="triton" measures it'

    found = judged("native-16-peer", of)

    assert (found.verdict, found.why) == ("not measured", 'make bench PEERS="triton" measures it')


def test_a_front_that_is_not_built_leaves_all_of_its_targets_unmeasured() -> None:
    of = measured(series(GATEWAY, STREAM), series(GATEWAY, SIXTEEN))
    of.absent[NATIVE] = "not built here"

    natives = [each for each in judge(of, {}) if each.target.name.startswith("native-")]

    assert len(natives) > 10
    assert {(each.verdict, each.why) for each in natives} == {("not measured", "not built here")}
    assert judged("python-streams", of).verdict == "missed"


def test_torchserve_alone_counts_in_its_quicker_form() -> None:
    of = measured(
        series(next(iter(ON_TORCHSERVE)), SIXTY_FOUR, 2000.0),
        series(torchserve.HTTP, SIXTY_FOUR, 1900.0),
        series(torchserve.GRPC, SIXTY_FOUR, 800.0),
    )

    ratio = judged("torchserve-64", of).ratio

    assert ratio is not None
    assert ratio.low == pytest.approx(2000 / 1900)


def test_goodput_is_held_against_the_peak_before_it() -> None:
    of = measured(
        [
            each
            for peak in (1000.0, 2000.0, 1500.0, 1100.0, 1200.0, 1300.0)
            for each in (
                trial(GATEWAY, SIXTY_FOUR, outcome(peak)),
                trial(GATEWAY, OVERLOAD, outcome(0.7 * peak)),
            )
        ]
    )

    ratio = judged("python-overload", of).ratio

    assert ratio is not None
    assert (ratio.low, ratio.high) == pytest.approx((0.7, 0.7))


def test_one_probe_that_took_too_long_leaves_health_undecided() -> None:
    of = measured(
        [trial(GATEWAY, OVERLOAD, health_seconds=seconds) for seconds in (0.1, 0.1, 0.1, 0.1, 0.1, 5)]
    )

    found = judged("python-overload-health", of)

    assert (found.verdict, found.why) == ("undecided", NO_VERDICT)


def test_a_slow_model_is_judged_at_every_overload() -> None:
    slow_refusal = latency(10, p99_us=11_000.0)
    of = measured(
        series(NATIVE, SLOW_PEAK, 1000.0),
        series(NATIVE, SLOW_OVERLOADS[2.0], 950.0),
        series(NATIVE, SLOW_OVERLOADS[5.0], 800.0),
        [
            trial(NATIVE, SLOW_OVERLOADS[10.0], outcome(950.0, UNAVAILABLE=slow_refusal), 0.5, held)
            for held in (400_000_000, *[410_000_000] * PAIRS)
        ],
    )

    assert judged("native-goodput-2", of).verdict == "met"
    assert judged("native-goodput-5", of).verdict == "missed"
    assert judged("native-goodput-10", of).verdict == "met"
    assert judged("native-refusals", of).verdict == "missed"  # only ten times the peak was refused
    assert judged("native-slow-memory", of).ratio == Ratio(1.025, 1.025, 1.025)
    assert judged("native-slow-health", of).verdict == "met"


def test_start_and_memory_are_held_against_the_import() -> None:
    of = Measured(starts={GATEWAY: [Start(3.1, 290_000_000, 2.0, 230_000_000)] * PAIRS})

    assert judged("python-start", of).verdict == "met"  # 1.3 * 2.0 + 0.5
    assert judged("python-memory", of).verdict == "met"
    assert judged("native-start", of).verdict == "not measured"
    slower = Measured(starts={GATEWAY: [Start(3.2, 291_000_000, 2.0, 230_000_000)] * PAIRS})
    assert judged("python-start", slower).verdict == "missed"
    assert judged("python-memory", slower).verdict == "missed"


@pytest.mark.parametrize(("held", "verdict"), [(2_000_000, "met"), (2_100_000, "missed")])
def test_each_further_model_is_held_against_two_megabytes(held: int, verdict: str) -> None:
    of = Measured(growth={GATEWAY: [Growth(300_000_000, 300_000_000 + FURTHER * held)] * PAIRS})

    assert judged("further-models", of).verdict == verdict


def test_many_models_are_held_against_one() -> None:
    of = measured(
        series(with_models(GATEWAY, 1), ONE, p50_us=500.0),
        series(with_models(GATEWAY, 100), ONE, p50_us=560.0),
    )

    assert judged("many-models", of).verdict == "missed"


@pytest.mark.parametrize(("seconds", "verdict"), [(0.0, "not measured"), (120.0, "met"), (121.0, "missed")])
def test_building_everything_is_one_figure(seconds: float, verdict: str) -> None:
    assert judged("build-all", Measured(build_seconds=seconds)).verdict == verdict


def test_ratios_of_the_other_program_are_judged_here() -> None:
    of = Measured(
        through={"through-json": Ratio(10.0, 9.0, 11.0)}, absent={"through-raw": "has not been run"}
    )

    assert judged("through-json", of).verdict == "met"
    assert (judged("through-raw", of).verdict, judged("through-raw", of).why) == (
        "not measured",
        "has not been run",
    )


def test_a_miss_shows_its_reason_and_says_so_where_there_is_none() -> None:
    of = measured(series(GATEWAY, SIXTY_FOUR, 500.0), series(AIO, SIXTY_FOUR, 1000.0))

    assert (
        judged("python-64", of, **{"python-64": "It works for its living."}).why == "It works for its living."
    )
    assert judged("python-64", of).why == NO_REASON
    assert [target.name for target in without_reasons(judge(of, {}))] == ["python-64"]


def test_what_is_met_needs_no_reason() -> None:
    of = measured(series(GATEWAY, SIXTY_FOUR, 900.0), series(AIO, SIXTY_FOUR, 1000.0))

    assert judged("python-64", of, **{"python-64": "of an earlier run"}).why == ""


def test_a_reference_that_gave_nothing_is_no_pair() -> None:
    theirs = [trial(AIO, SIXTY_FOUR, outcome(rate)) for rate in (0.0, *[1000.0] * PAIRS)]
    of = measured([trial(GATEWAY, SIXTY_FOUR) for _ in theirs], theirs)

    assert judged("python-64", of).ratio == Ratio(1.0, 1.0, 1.0)
    batches = measured(series(NATIVE, BATCH), series(CPP, BATCH, 0.0))
    assert judged("native-256", batches).verdict == "not measured"


@pytest.mark.parametrize(("device", "is_gpu"), [("null", False), ("nvidia0", True)])
def test_a_gpu_is_seen_by_its_device(tmp_path: Path, device: str, is_gpu: bool) -> None:  # noqa: FBT001 - a case
    (tmp_path / device).touch()

    assert has_gpu(tmp_path) is is_gpu


def test_the_engine_on_a_gpu_is_held_against_the_bare_forward() -> None:
    found = judged(GPU, Measured(gpu=[(900.0, 1000.0)] * 6))

    assert (found.verdict, found.ratio) == ("met", Ratio(0.9, 0.9, 0.9))


def test_what_was_not_run_is_not_measured() -> None:
    found = judge(Measured(), {})

    assert len(found) == len(TARGETS)
    assert {(each.verdict, each.why) for each in found} == {("not measured", NOT_RUN)}


def test_too_few_pairs_are_told() -> None:
    of = measured(series(GATEWAY, SIXTY_FOUR)[:3], series(AIO, SIXTY_FOUR)[:3])

    assert judged("python-64", of).why == "6 pairs are needed, not 3"
