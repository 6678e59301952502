"""The page and the JSON of a run say what was measured."""

from __future__ import annotations

import json

from bench.growth import Growth
from bench.labels import AIO, BATCH, GATEWAY, NATIVE, OVERLOAD, SIXTY_FOUR
from bench.measured import Measured
from bench.neutral import Neutral
from bench.page import render
from bench.plots import plot
from bench.record import Record
from bench.starts import Start
from bench.targets import TARGETS
from support.trials import latency, outcome, results, series, trial

TRIALS = results(
    [trial(GATEWAY, SIXTY_FOUR, outcome(900.0 + step, 2500.0)) for step in range(6)],
    series(AIO, SIXTY_FOUR, 1000.0),
    [trial(GATEWAY, OVERLOAD, outcome(700.0, UNAVAILABLE=latency(n, p99_us=1000.0 * n))) for n in (20, 30)],
    [trial(GATEWAY, BATCH, outcome(10.0))],
)
RECORD = Record(
    facts={"processor": "Some CPU", "cores": "2"},
    seconds=5.0,
    pairs=6,
    measured=Measured(
        TRIALS,
        forward={1: 12e-6, 256: 220e-6},
        starts={GATEWAY: [Start(2.0, 290_000_000, 1.5, 230_000_000)] * 6},
        growth={GATEWAY: [Growth(300_000_000, 330_000_000)]},
        neutral=[Neutral(GATEWAY, 1234.0, 900.0, 2000.0)],
        absent={NATIVE: "not built here"},
    ),
    reasons={"python-memory": "It holds more."},
)


def test_targets_stand_with_ratio_limit_and_verdict() -> None:
    row = "| Python front, 64 callers, throughput against empty grpc.aio | 0.90 (0.90 to 0.91) | ≥ 0.8 | met |  |"

    assert row in render(RECORD).splitlines()


def test_every_target_has_a_row_and_says_why_it_was_not_measured() -> None:
    page = render(RECORD)

    assert all(f"| {target.what} | " in page for target in TARGETS)
    assert (
        "| native front, 64 callers, throughput against empty C++ gRPC |  | ≥ 0.6 | not measured | not built here |"
        in page.splitlines()
    )


def test_a_miss_has_its_reason_beside_it() -> None:
    missed = Start(2.0, 300_000_000, 1.5, 230_000_000)
    record = Record({}, 5.0, 6, Measured(starts={GATEWAY: [missed] * 6}), reasons=RECORD.reasons)

    row = "| Python front, memory against `import torch` + 60 MB | 1.03 (1.03 to 1.03) | ≤ 1 | missed | It holds more. |"

    assert row in render(record).splitlines()


def test_figures_are_medians_in_examples_a_second_and_milliseconds() -> None:
    page = render(RECORD)

    assert "| 64 callers | gateway, Python front | 6 | 902 | 2.50 | 0.30 |" in page
    assert "| 256 examples, 1 caller | gateway, Python front | 1 | 2,560 |" in page


def test_errors_are_added_by_code() -> None:
    row = "| open loop, twice the peak | gateway, Python front | UNAVAILABLE | 50 | 30.00 |"

    assert row in render(RECORD).splitlines()


def test_starts_models_forward_and_machine_are_told() -> None:
    lines = render(RECORD).splitlines()

    assert "| gateway, Python front, to the first right answer | 6 | 2.00 | 290 |" in lines
    assert "| `import torch` | 6 | 1.50 | 230 |" in lines
    assert "| gateway, Python front | 300 | 330 | 1.50 |" in lines
    assert "| gateway, Python front | 1,234 | 0.90 | 2.00 |" in lines
    assert "| 256 | 220 |" in lines
    assert "| processor | Some CPU |" in lines
    assert "| gRPC C++ | 1.51.1 |" in lines


def test_what_was_not_measured_has_no_heading() -> None:
    page = render(Record({}, 5.0, 6, Measured(forward={1: 12e-6}), warnings=["core 0 is busy"]))

    assert "**core 0 is busy**" in page
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings == ["## Targets", "## The forward pass alone"]


def test_a_generator_that_is_not_there_is_told_of() -> None:
    page = render(Record({}, 5.0, 6, Measured(absent={"perf_analyzer": "`make clients` installs it"})))

    assert "| left out: `make clients` installs it |  |  |  |" in page.splitlines()


def test_the_plot_has_what_was_measured() -> None:
    picture = plot(TRIALS)

    assert "<svg" in picture
    assert GATEWAY in picture
    assert NATIVE not in picture


def test_the_json_has_every_trial_and_each_verdict() -> None:
    record = json.loads(RECORD.to_json())

    targets = {target["name"]: target for target in record["targets"]}
    assert len(targets) == len(TARGETS)
    assert targets["python-64"]["verdict"] == "met"
    assert targets["native-64"] == {
        "name": "native-64",
        "what": "native front, 64 callers, throughput against empty C++ gRPC",
        "against": "",
        "limit": 0.6,
        "at_most": False,
        "ratio": None,
        "verdict": "not measured",
        "why": "not built here",
    }
    trials = record["measured"]["results"]["trials"]
    assert len(trials) == 15
    assert trials[0]["outcome"]["codes"]["OK"]["p50_us"] == 2500.0
    assert record["facts"] == {"processor": "Some CPU", "cores": "2"}
