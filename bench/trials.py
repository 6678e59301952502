"""What is measured, in which turns, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from time import monotonic

from bench.generator import Generator, GeneratorFailed, Load, Outcome, Work
from bench.load import WrongAnswer
from bench.probing import Probes, probes
from bench.serving import Server, ServerFailed


@dataclass(frozen=True, slots=True)
class Point:
    """One server under one load.

    at_peaks: its rate is so many times what the same server last reached under the load `peak`.
    """

    front: str
    load: Load
    at_peaks: float = 0.0
    peak: Load | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """Points that are measured in turns. beside: those that no target needs, measured less often."""

    points: Sequence[Point]
    beside: Sequence[Point] = ()

    def turns(self, pairs: int, beside: int) -> Iterator[Point]:
        """Points, points, …; what stands beside follows the first rounds."""
        for turn in range(pairs if self.points else beside):
            yield from self.points
            yield from self.beside if turn < beside else ()


@dataclass(frozen=True, slots=True)
class Trial:
    """One measurement. server_cpu: the server's share of its core. memory_bytes: its, at the end.

    health_seconds: the longest that a probe took, only under overload.
    """

    front: str
    load: Load
    outcome: Outcome
    server_cpu: float
    memory_bytes: int
    health_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Good examples a second."""
        return self.outcome.throughput * self.load.examples

    @property
    def refusals_p99_us(self) -> float:
        """The largest p99 of what was not OK, by code; 0 where all was."""
        return max(
            (latency.p99_us for code, latency in self.outcome.codes.items() if code != "OK"), default=0
        )

    def __str__(self) -> str:
        good = self.outcome.good
        return (
            f"{self.front}, {self.load.name}: {self.rate:,.0f} examples/s, "
            f"p50 {good.p50_us / 1e3:.2f} ms, p99 {good.p99_us / 1e3:.2f} ms, {self.outcome.errors} errors, "
            f"cores: generator {self.outcome.cpu_share:.0%}, server {self.server_cpu:.0%}"
        )


@dataclass(slots=True)
class Results:
    """All trials, in the order in which they were made. failed: fronts that were given up, and why."""

    trials: list[Trial] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def of(self, front: str, load: Load) -> list[Trial]:
        """Those of one front under one load."""
        return [trial for trial in self.trials if (trial.front, trial.load.name) == (front, load.name)]


@dataclass(frozen=True, slots=True)
class Bench:
    """What measures. servers: by front, and by what it is asked for. others: fronts that are not ours."""

    generator: Generator
    servers: Mapping[tuple[str, Work], Server]
    seconds: float
    others: Collection[str] = ()

    def has(self, point: Point) -> bool:
        """Whether that server is there and takes requests in this form."""
        server = self.servers.get((point.front, point.load.work))
        return server is not None and point.load.form in server.doors

    def measure(self, point: Point, results: Results) -> Trial:
        """One trial. Raises GeneratorFailed, ServerFailed, WrongAnswer."""
        server, load = self.servers[point.front, point.load.work], _with_rate(point, results)
        before, started = server.cpu_seconds(), monotonic()
        with probes(server.health) if point.at_peaks else nullcontext(Probes()) as asked:
            outcome = self._run(server, load)
        share = (server.cpu_seconds() - before) / (monotonic() - started)
        return Trial(point.front, load, outcome, share, server.memory_bytes(), asked.worst)

    def _run(self, server: Server, load: Load) -> Outcome:
        try:
            return self.generator.run(server.doors[load.form], load, self.seconds)
        except GeneratorFailed as error:
            if server.process.poll() is None:
                raise
            raise server.failed(f"the server ended under {load.name}") from error


def _with_rate(point: Point, results: Results) -> Load:
    if point.peak is None:
        return point.load
    peak = results.of(point.front, point.peak)[-1].outcome.throughput
    return replace(point.load, rate=point.at_peaks * peak)


def run_turns(bench: Bench, turns: Sequence[Point], say: Callable[[str], None]) -> Results:
    """One after the other, each said as it ends; servers that are not there are left out.

    One of others that fails is given up, and the rest goes on. Raises GeneratorFailed, ServerFailed,
    WrongAnswer.
    """
    results, there = Results(), [point for point in turns if bench.has(point)]
    for number, point in enumerate(there, start=1):
        if point.front in results.failed:
            continue
        try:
            trial = bench.measure(point, results)
        except (GeneratorFailed, ServerFailed, WrongAnswer) as error:
            if point.front not in bench.others:
                raise
            results.failed[point.front] = " ".join(str(error).split())
            say(f"{point.front} is given up: {results.failed[point.front]}")
        else:
            results.trials.append(trial)
            say(f"[{number}/{len(there)}] {trial}")
    return results
