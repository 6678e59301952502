"""Pairs of measurements, as targets need them: each gives one ratio, the first over the second."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.generator import Load
from bench.labels import BATCH, FRONTS, ONE, PEERS, SLOW_OVERLOADS, SLOW_PEAK, with_models
from bench.measured import Measured
from bench.starts import Start
from bench.trials import Trial

Pairs = list[tuple[float, float]]
Evidence = Callable[[Measured], Pairs]

START_FACTOR, START_SECONDS = 1.3, 0.5
MEMORY_BYTES, FURTHER_BYTES = 60e6, 2e6
REFUSAL_SECONDS, HEALTH_SECONDS = 0.010, 1.0


def rates(front: str, load: Load, other: str, other_load: Load | None = None) -> Evidence:
    """Throughput of one front against that of another, or of the same under another load."""
    return lambda of: _pairs(_rates(of, front, load), _rates(of, other, other_load or load))


@dataclass(frozen=True, slots=True)
class Best:
    """Throughput of the quickest of some fronts against that of the quickest of others, under one load."""

    fronts: Sequence[str]
    load: Load
    others: Sequence[str] = PEERS

    def __call__(self, of: Measured) -> Pairs:
        """By the medians of their trials."""
        return _pairs(
            _rates(of, _quickest(of, self.load, self.fronts), self.load),
            _rates(of, self.against(of), self.load),
        )

    def against(self, of: Measured) -> str:
        """The quickest of the others."""
        return _quickest(of, self.load, self.others)


def _quickest(of: Measured, load: Load, fronts: Sequence[str]) -> str:
    """The first one where none was measured."""
    return max(fronts, key=lambda front: median(_rates(of, front, load) or [0.0]))


def latency(front: str, other: str) -> Evidence:
    """p50 of one caller against another server's and the forward pass."""
    return lambda of: _pairs(
        _p50_us(of, front), (p50 + 1e6 * of.forward.get(1, 0.0) for p50 in _p50_us(of, other))
    )


def many_models(count: int) -> Evidence:
    """p50 of one caller of a gateway with many models against that of one with one, by whichever front."""
    return lambda of: [
        pair
        for front in FRONTS
        for pair in _pairs(_p50_us(of, with_models(front, count)), _p50_us(of, with_models(front, 1)))
    ]


def batch_rates(front: str, other: str) -> Evidence:
    """256 examples in a request: throughput against the other server's message and the forward together."""
    return lambda of: _pairs(
        (trial.outcome.throughput for trial in of.results.of(front, BATCH)),
        (
            _behind(trial.outcome.throughput, of.forward.get(BATCH.examples, 0.0))
            for trial in of.results.of(other, BATCH)
        ),
    )


def _behind(rate: float, seconds: float) -> float:
    """What becomes of a rate when every request takes so much longer."""
    return 1 / (1 / rate + seconds) if rate else 0.0


def goodput(front: str, peaks: float) -> Evidence:
    """Of the slow model, against the peak before it."""
    return rates(front, SLOW_OVERLOADS[peaks], front, SLOW_PEAK)


def slow_refusals(front: str) -> Evidence:
    """p99 of refusals under every overload of the slow model that had some, against 10 ms."""
    return lambda of: [
        (trial.refusals_p99_us / 1e6, REFUSAL_SECONDS)
        for trial in _overloads(of, front)
        if trial.outcome.errors
    ]


def slow_memory(front: str) -> Evidence:
    """What is held after the worst overload, against after the first one of them that counts.

    Before it there was one that settles what a queue keeps for good, so that growth at the first is not seen.
    """

    def pairs(of: Measured) -> Pairs:
        worst = of.results.of(front, SLOW_OVERLOADS[max(SLOW_OVERLOADS)])
        return [(trial.memory_bytes, worst[0].memory_bytes) for trial in worst[1:]]

    return pairs


def slow_health(front: str) -> Evidence:
    """The slowest probe of each overload of the slow model, in seconds."""
    return lambda of: [(trial.health_seconds, HEALTH_SECONDS) for trial in _overloads(of, front)]


def health(front: str, load: Load) -> Evidence:
    """The slowest probe of each trial, in seconds."""
    return lambda of: [(trial.health_seconds, HEALTH_SECONDS) for trial in of.results.of(front, load)]


def cold_start(front: str) -> Evidence:
    """First right answer against 1.3 times the import and 0.5 s."""
    return lambda of: [
        (each.seconds, START_FACTOR * each.import_seconds + START_SECONDS) for each in _starts(of, front)
    ]


def memory(front: str) -> Evidence:
    """Against the import and 60 MB."""
    return lambda of: [
        (each.memory_bytes, each.import_memory_bytes + MEMORY_BYTES) for each in _starts(of, front)
    ]


def further_models(of: Measured) -> Pairs:
    """What each further model holds, against 2 MB, by whichever front."""
    return [(each.further_bytes, FURTHER_BYTES) for growth in of.growth.values() for each in growth]


def _starts(of: Measured, front: str) -> Sequence[Start]:
    return of.starts.get(front, ())


def _overloads(of: Measured, front: str) -> list[Trial]:
    return [trial for load in SLOW_OVERLOADS.values() for trial in of.results.of(front, load)]


def _rates(of: Measured, front: str, load: Load) -> list[float]:
    return [trial.outcome.throughput for trial in of.results.of(front, load)]


def _p50_us(of: Measured, front: str) -> list[float]:
    return [trial.outcome.good.p50_us for trial in of.results.of(front, ONE)]


def _pairs(first: Iterable[float], second: Iterable[float]) -> Pairs:
    """Without those whose second is 0: nothing came back in time, and nothing can be held against that."""
    return [(ours, theirs) for ours, theirs in zip(first, second, strict=False) if theirs]
