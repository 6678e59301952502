"""Writes a record as Markdown: docs/performance.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, starmap
from statistics import median

from bench.record import Record
from bench.starts import Start
from bench.trials import Trial
from bench.verdicts import Judged

PLOT = "performance.svg"
INTRODUCTION = """# Performance

Written by `make bench`; do not edit. [bench/README.md](../bench/README.md) says how it is measured and what
the words *met*, *undecided* and *missed* mean. `digit_mlp`, FP32; the server has one core, the load generator
another. Absolute figures belong to this machine on that day; what holds elsewhere are the ratios.
"""
TARGETS = "## Targets of the Python front"
FIGURES = """## Figures

Medians of the trials. The empty servers parse the same requests and send the gateway's own reply, without a
model. Latencies are in milliseconds and of good replies; in the open loop they begin when a request was due.
*load*, *server*: what each took of its core; with nearly 100 % of *load*, a figure is the generator's."""
COLUMNS: tuple[tuple[str, str, Callable[[Trial], float]], ...] = (
    ("examples/s", ",.0f", lambda trial: trial.outcome.throughput * trial.load.examples),
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
CODES = "Errors by gRPC code, of all trials, with the largest p99 in milliseconds:"
STARTS = """## Start and memory

Medians of {count} starts, one model, embedded engine; memory is resident, after a second of 64 callers."""
FORWARD = "## The forward pass alone\n\nIn process, one thread; the median."


def render(record: Record) -> str:
    """The page."""
    return "\n\n".join(part for part in _parts(record) if part) + "\n"


def _parts(record: Record) -> Iterator[str]:
    points = _by_point(record.results.trials)
    yield INTRODUCTION.rstrip()
    yield from (f"**{warning}**" for warning in record.warnings)
    yield _table(TARGETS, ["what", "median (interval)", "target", ""], map(_target, record.judged))
    yield f"![Throughput and latency by callers]({PLOT})"
    yield _table(FIGURES, ["", "", "trials", *(title for title, _, _ in COLUMNS)], map(_figures, points))
    yield _table(CODES, ["", "", "code", "replies", "p99"], chain.from_iterable(map(_codes, points)))
    yield _table(STARTS.format(count=len(record.starts)), ["", "seconds", "MB"], _starts(record.starts))
    yield _table(FORWARD, ["examples", "µs"], starmap(_pass, record.forward.items()))
    yield _table(_measured(record), ["", ""], starmap(_row, _machine(record)))


def _table(text: str, titles: Sequence[str], rows: Iterable[str]) -> str:
    """With its text before it; nothing where there are no rows."""
    lines = list(rows)
    return "\n".join([text, "", _row(*titles), _row(*["---"] * len(titles)), *lines]) if lines else ""


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _target(judged: Judged) -> str:
    return _row(judged.target.what, judged.ratio, judged.target, judged.verdict)


def _pass(examples: int, seconds: float) -> str:
    return _row(examples, f"{1e6 * seconds:.0f}")


def _by_point(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Trials of the same load and front together; loads, and the fronts of each, as they came first."""
    loads: dict[str, dict[str, list[Trial]]] = {}
    for trial in trials:
        loads.setdefault(trial.load.name, {}).setdefault(trial.front, []).append(trial)
    return [of_one for fronts in loads.values() for of_one in fronts.values()]


def _figures(trials: Sequence[Trial]) -> str:
    medians = [format(median(map(value, trials)), form) for _, form, value in COLUMNS]
    return _row(trials[0].load.name, trials[0].front, len(trials), *medians)


def _codes(trials: Sequence[Trial]) -> list[str]:
    load, front = trials[0].load.name, trials[0].front
    rows = []
    for name in sorted({code for trial in trials for code in trial.outcome.codes} - {"OK"}):
        latencies = [trial.outcome.codes[name] for trial in trials if name in trial.outcome.codes]
        replies, p99 = sum(each.count for each in latencies), max(each.p99_us for each in latencies)
        rows.append(_row(load, front, name, f"{replies:,}", f"{p99 / 1e3:,.2f}"))
    return rows


def _starts(starts: Sequence[Start]) -> list[str]:
    if not starts:
        return []
    seconds, memory = median(each.seconds for each in starts), median(each.memory_bytes for each in starts)
    import_seconds = median(each.import_seconds for each in starts)
    import_memory = median(each.import_memory_bytes for each in starts)
    return [
        _row("`seqserve serve`, to the first right answer", f"{seconds:.2f}", f"{memory / 1e6:.0f}"),
        _row("`import torch`", f"{import_seconds:.2f}", f"{import_memory / 1e6:.0f}"),
    ]


def _measured(record: Record) -> str:
    trials = f"Each trial lasted {record.seconds:g} s; targets were measured in {record.pairs} pairs."
    return f"## The machine\n\n{trials}"


def _machine(record: Record) -> list[tuple[str, str]]:
    """Facts, and the version of gRPC that the generator and the empty C++ server have."""
    libraries = [("gRPC C++", trial.outcome.grpc) for trial in record.results.trials[:1]]
    return [*record.facts.items(), *libraries]
