"""What is measured, in which turns, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from time import monotonic

from bench.generator import Generator, GeneratorFailed, Load, Outcome
from bench.probing import Probes, probes
from bench.serving import Server

GATEWAY = "gateway, Python front"
AIO = "empty grpc.aio"
CPP = "empty C++ gRPC"

ONE = Load("1 caller")
SIXTEEN = Load("16 callers", callers=16)
SIXTY_FOUR = Load("64 callers", callers=64)
STREAM = Load("stream, 16 in flight", in_flight=16)
BATCH = Load("256 examples, 1 caller", examples=256)
OVERLOAD = Load("open loop, twice the peak")
PEAKS = 2.0
BY_CALLERS = (ONE, SIXTEEN, SIXTY_FOUR)


@dataclass(frozen=True, slots=True)
class Point:
    """One server under one load. at_peaks: its rate is so many times the front's last one at 64 callers."""

    front: str
    load: Load
    at_peaks: float = 0.0


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


ROUNDS = {
    "1": Round([Point(GATEWAY, ONE), Point(AIO, ONE)], [Point(CPP, ONE)]),
    "16": Round(
        [Point(GATEWAY, SIXTEEN), Point(GATEWAY, STREAM)],
        [Point(AIO, SIXTEEN), Point(AIO, STREAM), Point(CPP, SIXTEEN), Point(CPP, STREAM)],
    ),
    "64": Round(
        [Point(GATEWAY, SIXTY_FOUR), Point(AIO, SIXTY_FOUR), Point(GATEWAY, OVERLOAD, PEAKS)],
        [Point(CPP, SIXTY_FOUR)],
    ),
    "256": Round([], [Point(GATEWAY, BATCH), Point(AIO, BATCH), Point(CPP, BATCH)]),
}
"""By the callers, or by the examples in a request."""


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

    def __str__(self) -> str:
        latency = self.outcome.good
        rate = self.outcome.throughput * self.load.examples
        return (
            f"{self.front}, {self.load.name}: {rate:,.0f} examples/s, p50 {latency.p50_us / 1e3:.2f} ms, "
            f"p99 {latency.p99_us / 1e3:.2f} ms, {self.outcome.errors} errors, "
            f"cores: generator {self.outcome.cpu_share:.0%}, server {self.server_cpu:.0%}"
        )


@dataclass(slots=True)
class Results:
    """All trials, in the order in which they were made."""

    trials: list[Trial] = field(default_factory=list)

    def of(self, front: str, load: Load) -> list[Trial]:
        """Those of one front under one load."""
        return [trial for trial in self.trials if (trial.front, trial.load.name) == (front, load.name)]


@dataclass(frozen=True, slots=True)
class Bench:
    """What measures. servers: by front and by examples in one request."""

    generator: Generator
    servers: Mapping[tuple[str, int], Server]
    seconds: float

    def measure(self, point: Point, results: Results) -> Trial:
        """One trial. Raises GeneratorFailed, ServerFailed, WrongAnswer."""
        server, load = self.servers[point.front, point.load.examples], _with_rate(point, results)
        before, started = server.cpu_seconds(), monotonic()
        with probes(server.health) if point.at_peaks else nullcontext(Probes()) as asked:
            outcome = self._run(server, load)
        share = (server.cpu_seconds() - before) / (monotonic() - started)
        return Trial(point.front, load, outcome, share, server.memory_bytes(), asked.worst)

    def _run(self, server: Server, load: Load) -> Outcome:
        try:
            return self.generator.run(server.address, load, self.seconds)
        except GeneratorFailed as error:
            if server.process.poll() is None:
                raise
            raise server.failed(f"the server ended under {load.name}") from error


def _with_rate(point: Point, results: Results) -> Load:
    if not point.at_peaks:
        return point.load
    peak = results.of(point.front, SIXTY_FOUR)[-1].outcome.throughput
    return replace(point.load, rate=point.at_peaks * peak)


def run_turns(bench: Bench, turns: Sequence[Point], say: Callable[[str], None]) -> Results:
    """One after the other, each said as it ends. Raises GeneratorFailed, ServerFailed, WrongAnswer."""
    results = Results()
    for number, point in enumerate(turns, start=1):
        trial = bench.measure(point, results)
        results.trials.append(trial)
        say(f"[{number}/{len(turns)}] {trial}")
    return results
