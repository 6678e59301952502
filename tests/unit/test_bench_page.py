"""The page and the JSON of a run say what was measured."""

from __future__ import annotations

import json

from bench.page import render
from bench.record import Record
from bench.starts import Start
from bench.trials import AIO, BATCH, GATEWAY, OVERLOAD, SIXTY_FOUR, Results
from support.trials import latency, outcome, results, trial

RECORD = Record(
    facts={"processor": "Some CPU", "cores": "2"},
    seconds=5.0,
    pairs=6,
    results=results(
        [trial(GATEWAY, SIXTY_FOUR, outcome(900.0 + step, 2500.0)) for step in range(6)],
        [trial(AIO, SIXTY_FOUR, outcome(1000.0)) for _ in range(6)],
        [
            trial(GATEWAY, OVERLOAD, outcome(700.0, UNAVAILABLE=latency(n, p99_us=1000.0 * n)))
            for n in (20, 30)
        ],
        [trial(GATEWAY, BATCH, outcome(10.0))],
    ),
    starts=[Start(2.0, 290_000_000, 1.5, 230_000_000)],
    forward={1: 12e-6, 256: 220e-6},
)


def test_targets_stand_with_ratio_limit_and_verdict() -> None:
    row = "| 64 callers, throughput against empty grpc.aio | 0.90 (0.90 to 0.91) | ≥ 0.8 | met |"

    assert row in render(RECORD).splitlines()


def test_figures_are_medians_in_examples_a_second_and_milliseconds() -> None:
    page = render(RECORD)

    assert "| 64 callers | gateway, Python front | 6 | 902 | 2.50 | 0.30 |" in page
    assert "| 256 examples, 1 caller | gateway, Python front | 1 | 2,560 |" in page


def test_errors_are_added_by_code() -> None:
    row = "| open loop, twice the peak | gateway, Python front | UNAVAILABLE | 50 | 30.00 |"

    assert row in render(RECORD).splitlines()


def test_start_forward_and_machine_are_told() -> None:
    lines = render(RECORD).splitlines()

    assert "| `seqserve serve`, to the first right answer | 2.00 | 290 |" in lines
    assert "| 256 | 220 |" in lines
    assert "| processor | Some CPU |" in lines
    assert "| gRPC C++ | 1.51.1 |" in lines


def test_what_was_not_measured_has_no_heading() -> None:
    page = render(Record({}, 5.0, 6, Results(), [], {1: 12e-6}, warnings=["core 0 is busy"]))

    assert "**core 0 is busy**" in page
    assert [line for line in page.splitlines() if line.startswith("## ")] == ["## The forward pass alone"]


def test_the_json_has_every_trial_and_each_verdict() -> None:
    record = json.loads(RECORD.to_json())

    assert record["targets"][0]["verdict"] == "met"
    assert len(record["results"]["trials"]) == 15
    assert record["results"]["trials"][0]["outcome"]["codes"]["OK"]["p50_us"] == 2500.0
    assert record["facts"] == {"processor": "Some CPU", "cores": "2"}
