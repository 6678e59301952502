"""The targets of the Python front, and what the measurements say of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.generator import Load
from bench.pairs import FEWEST_PAIRS, Ratio, Verdict, ratio_of
from bench.starts import Start
from bench.trials import AIO, GATEWAY, ONE, OVERLOAD, SIXTEEN, SIXTY_FOUR, STREAM, Results

START_FACTOR, START_SECONDS = 1.3, 0.5
MEMORY_BYTES = 60e6


@dataclass(frozen=True, slots=True)
class Target:
    """A limit of a ratio. at_most: it is an upper one."""

    what: str
    limit: float
    at_most: bool = False

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Judged:
    """A target and what was measured."""

    target: Target
    ratio: Ratio

    @property
    def verdict(self) -> Verdict:
        """See Ratio."""
        limit = self.target.limit
        return self.ratio.verdict_below(limit) if self.target.at_most else self.ratio.verdict(limit)


THROUGHPUT = Target("64 callers, throughput against empty grpc.aio", 0.80)
LATENCY = Target("1 caller, p50 against empty grpc.aio and the forward", 1.35, at_most=True)
STREAMS = Target("a stream with 16 in flight against 16 unary callers", 1.5)
GOODPUT = Target("open loop at twice the peak, goodput against the peak", 0.60)
HEALTH = Target("the same, the slowest health probe in seconds", 1.0, at_most=True)
COLD_START = Target("first right answer against `import torch`, 1.3 times, and 0.5 s", 1.0, at_most=True)
MEMORY = Target("memory against `import torch` + 60 MB", 1.0, at_most=True)

Pairs = list[tuple[float, float]]


def judge(results: Results, starts: Sequence[Start], forward: Mapping[int, float]) -> list[Judged]:
    """Each target for which there are pairs enough. forward: seconds of one pass, by examples."""
    measured: dict[Target, Pairs] = {
        THROUGHPUT: _pairs(_rates(results, GATEWAY, SIXTY_FOUR), _rates(results, AIO, SIXTY_FOUR)),
        LATENCY: _latencies(results, forward[1]),
        STREAMS: _pairs(_rates(results, GATEWAY, STREAM), _rates(results, GATEWAY, SIXTEEN)),
        GOODPUT: _pairs(_rates(results, GATEWAY, OVERLOAD), _rates(results, GATEWAY, SIXTY_FOUR)),
        HEALTH: [(trial.health_seconds, 1.0) for trial in results.of(GATEWAY, OVERLOAD)],
        COLD_START: [(each.seconds, START_FACTOR * each.import_seconds + START_SECONDS) for each in starts],
        MEMORY: [(each.memory_bytes, each.import_memory_bytes + MEMORY_BYTES) for each in starts],
    }
    enough = {target: pairs for target, pairs in measured.items() if len(pairs) >= FEWEST_PAIRS}
    return [Judged(target, ratio_of(pairs)) for target, pairs in enough.items()]


def _latencies(results: Results, forward_seconds: float) -> Pairs:
    ours, theirs = (
        [trial.outcome.good.p50_us for trial in results.of(front, ONE)] for front in (GATEWAY, AIO)
    )
    return _pairs(ours, (latency + 1e6 * forward_seconds for latency in theirs))


def _rates(results: Results, front: str, load: Load) -> list[float]:
    return [trial.outcome.throughput for trial in results.of(front, load)]


def _pairs(first: Iterable[float], second: Iterable[float]) -> Pairs:
    return list(zip(first, second, strict=False))
