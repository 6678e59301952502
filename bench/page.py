"""Writes a record as Markdown: docs/performance.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, starmap
from statistics import median

from bench.growth import FURTHER
from bench.measured import Measured
from bench.record import Record
from bench.tables import row, table
from bench.trials import Trial
from bench.verdicts import Judged

PLOT = "performance.svg"
INTRODUCTION = """# Performance

Written by `make bench`; do not edit. [bench/README.md](../bench/README.md) says how it is measured and what
the words *met*, *undecided* and *missed* mean. `digit_mlp`, FP32; the servers have one core, the load
generator another. Absolute figures belong to this machine on that day; what holds elsewhere are the ratios.
"""
TARGETS = "## Targets"
FIGURES = """## Figures

Medians of the trials. The empty servers parse the same requests and send the gateway's own reply, without a
model. Latencies are in milliseconds and of good replies; in an open loop they begin when a request was due.
*load*, *server*: what each took of its core; with nearly 100 % of *load*, a figure is the generator's."""
COLUMNS: tuple[tuple[str, str, Callable[[Trial], float]], ...] = (
    ("examples/s", ",.0f", lambda trial: trial.rate),
    ("p50", ",.2f", lambda trial: trial.outcome.good.p50_us / 1e3),
    ("p99", ",.2f", lambda trial: trial.outcome.good.p99_us / 1e3),
    ("p99.9", ",.2f", lambda trial: trial.outcome.good.p999_us / 1e3),
    ("max", ",.2f", lambda trial: trial.outcome.good.max_us / 1e3),
    ("errors", ",.0f", lambda trial: trial.outcome.errors),
    ("unanswered", ",.0f", lambda trial: trial.outcome.unanswered),
    ("load", ".0%", lambda trial: trial.outcome.cpu_share),
    ("server", ".0%", lambda trial: trial.server_cpu),
    ("MB", ",.0f", lambda trial: trial.memory_bytes / 1e6),
)
"""Title, format, and what is shown of the trials: its median."""
CODES = "Errors by gRPC code or HTTP status, of all trials, with the largest p99 in milliseconds:"
STARTS = """## Start and memory

Medians, one model, embedded engine; memory is resident, after a second of 64 callers."""
GROWTH = f"Memory of the same with {FURTHER} copies of the model beside it, medians:"
NEUTRAL = """## Another generator

Triton's perf_analyzer with 16 callers of the same servers, beside the medians of our own generator above."""
FORWARD = "## The forward pass alone\n\nIn process, one thread; the median."


def render(record: Record) -> str:
    """The page."""
    return "\n\n".join(part for part in _parts(record) if part) + "\n"


def _parts(record: Record) -> Iterator[str]:
    measured = record.measured
    points = _by_point(measured.results.trials)
    yield INTRODUCTION.rstrip()
    yield from (f"**{warning}**" for warning in record.warnings)
    yield table(TARGETS, ["what", "median (interval)", "target", "", "why"], map(_target, record.judged))
    yield f"![Throughput and latency by callers]({PLOT})"
    yield table(FIGURES, ["", "", "trials", *(title for title, _, _ in COLUMNS)], map(_figures, points))
    yield table(CODES, ["", "", "code", "replies", "p99"], chain.from_iterable(map(_codes, points)))
    yield table(STARTS, ["", "starts", "seconds", "MB"], _starts(measured))
    yield table(GROWTH, ["", "MB, one model", "MB, all", "MB each"], _growth(measured))
    yield table(NEUTRAL, ["", "examples/s", "p50", "p99"], _neutral(measured))
    yield table(FORWARD, ["examples", "µs"], starmap(_pass, measured.forward.items()))
    yield table(_how_long(record), ["", ""], starmap(row, _machine(record)))


def _target(judged: Judged) -> str:
    figure = judged.ratio or ""
    what = f"{judged.target.what}: {judged.against}" if judged.against else judged.target.what
    return row(what, figure, judged.target, judged.verdict, judged.why)


def _pass(examples: int, seconds: float) -> str:
    return row(examples, f"{1e6 * seconds:.0f}")


def _by_point(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Trials of the same load and front together; loads, and the fronts of each, as they came first."""
    loads: dict[str, dict[str, list[Trial]]] = {}
    for trial in trials:
        loads.setdefault(trial.load.name, {}).setdefault(trial.front, []).append(trial)
    return [of_one for fronts in loads.values() for of_one in fronts.values()]


def _figures(trials: Sequence[Trial]) -> str:
    medians = [format(median(map(value, trials)), form) for _, form, value in COLUMNS]
    return row(trials[0].load.name, trials[0].front, len(trials), *medians)


def _codes(trials: Sequence[Trial]) -> list[str]:
    load, front = trials[0].load.name, trials[0].front
    rows = []
    for name in sorted({code for trial in trials for code in trial.outcome.codes} - {"OK"}):
        latencies = [trial.outcome.codes[name] for trial in trials if name in trial.outcome.codes]
        replies, p99 = sum(each.count for each in latencies), max(each.p99_us for each in latencies)
        rows.append(row(load, front, name, f"{replies:,}", f"{p99 / 1e3:,.2f}"))
    return rows


def _starts(measured: Measured) -> Iterator[str]:
    for front, starts in measured.starts.items():
        seconds = median(each.seconds for each in starts)
        held = median(each.memory_bytes for each in starts)
        told = f"{front}, to the first right answer"
        yield row(told, len(starts), f"{seconds:.2f}", f"{held / 1e6:.0f}")
    if imports := [each for starts in measured.starts.values() for each in starts]:
        seconds = median(each.import_seconds for each in imports)
        held = median(each.import_memory_bytes for each in imports)
        yield row("`import torch`", len(imports), f"{seconds:.2f}", f"{held / 1e6:.0f}")


def _growth(measured: Measured) -> Iterator[str]:
    for front, growth in measured.growth.items():
        one, held = median(each.one_bytes for each in growth), median(each.all_bytes for each in growth)
        each = median(pair.further_bytes for pair in growth)
        yield row(front, f"{one / 1e6:.0f}", f"{held / 1e6:.0f}", f"{each / 1e6:.2f}")


def _neutral(measured: Measured) -> Iterator[str]:
    for each in measured.neutral:
        latencies = (f"{each.p50_us / 1e3:,.2f}", f"{each.p99_us / 1e3:,.2f}")
        yield row(each.front, f"{each.examples_per_second:,.0f}", *latencies)
    if reason := measured.absent.get("perf_analyzer"):
        yield row(f"left out: {reason}", "", "", "")


def _how_long(record: Record) -> str:
    trials = f"Each trial lasted {record.seconds:g} s; targets were measured in {record.pairs} pairs."
    return f"## The machine\n\n{trials}"


def _machine(record: Record) -> list[tuple[str, str]]:
    """Facts, and the version of gRPC that the generator and the empty C++ server have."""
    libraries = [("gRPC C++", trial.outcome.grpc) for trial in record.measured.results.trials[:1]]
    return [*record.facts.items(), *libraries]
