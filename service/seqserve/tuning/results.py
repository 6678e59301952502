"""What came out of a measurement, for people, for scripts and for the configuration file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import tomli_w

from seqserve.tuning.curves import Curve, Point
from seqserve.tuning.durations import as_written, rounded_up
from seqserve.tuning.proposal import Choice, Machine, Miss, Proposal

HEADINGS = ("batch size", "threads", "rounds", "median ms", "p99 ms", "p99 bound, ms", "examples/s", "")


@dataclass(frozen=True, slots=True)
class Results:
    """device: `cpu` or `cuda:N`. outcome: the proposal, or the models that miss the bound."""

    device: str
    machine: Machine
    p99_seconds: float
    curves: tuple[Curve, ...]
    outcome: Proposal | tuple[Miss, ...]

    @property
    def proposal(self) -> Proposal | None:
        """None where a model misses the bound."""
        return self.outcome if isinstance(self.outcome, Proposal) else None

    @property
    def misses(self) -> tuple[Miss, ...]:
        """None where there is a proposal."""
        return () if isinstance(self.outcome, Proposal) else self.outcome

    def choice_of(self, curve: Curve) -> Choice | None:
        """What is proposed for a model."""
        choices = self.proposal.choices if self.proposal else ()
        return next((choice for choice in choices if choice.curve is curve), None)

    def bound_seconds(self, point: Point) -> float:
        """What a request takes at most with batches of that point."""
        return self.machine.sharing(len(self.curves), point.threads).bound_seconds(point)


def rows(results: Results, curve: Curve) -> list[tuple[str, ...]]:
    """A model's rows under HEADINGS."""
    choice = results.choice_of(curve)
    return [
        (
            str(point.batch_size),
            str(point.threads),
            str(point.rounds),
            _milliseconds(point.median_seconds),
            _milliseconds(point.p99_seconds),
            _milliseconds(results.bound_seconds(point)),
            f"{point.examples_per_second:,.0f}",
            "← proposed" if choice and point is choice.point else "",
        )
        for point in curve.points
    ]


def as_toml(results: Results, proposal: Proposal) -> str:
    """The lines of the configuration file."""
    cores = "" if results.machine.is_gpu else f", cores: {results.machine.cores}"
    head = (
        f"# seqserve tune --p99 {as_written(results.p99_seconds).replace(' ', '')}; {results.device}{cores}\n"
    )
    sections = {
        choice.curve.model: {
            "max_batch_size": choice.point.batch_size,
            "max_queue_delay_seconds": choice.max_queue_delay_seconds,
        }
        for choice in proposal.choices
    }
    return head + tomli_w.dumps({**_threads(proposal), "models": sections})


def document(results: Results) -> dict[str, Any]:
    """All of it as plain values; times are seconds."""
    settings = _threads(results.proposal) if results.proposal else None
    return {
        "device": results.device,
        "cores": results.machine.cores,
        "p99_seconds": results.p99_seconds,
        "proposed": settings,
        "models": [_model(results, curve) for curve in results.curves],
    }


def words_of_choice(choice: Choice) -> str:
    """What is proposed for a model, and why there is a delay where there is one."""
    point = choice.point
    words = (
        f"{choice.curve.model} {choice.curve.version}: batches of up to {point.batch_size} on "
        f"{in_words(point.threads)} keep to {as_written(choice.bound_seconds)}, waiting included, and make "
        f"up to {point.examples_per_second:,.0f} examples/s"
    )
    if choice.max_queue_delay_seconds:
        fixed = as_written(choice.fixed_seconds)
        words += f"; a delay pays, since {fixed} of a forward do not depend on its size"
    return words


def words_of_miss(miss: Miss, p99_seconds: float) -> str:
    """What is nearest for a model, and what it would take."""
    nearest = f"batches of {miss.point.batch_size} on {in_words(miss.point.threads)}"
    faster = f"{miss.bound_seconds / p99_seconds:.3g}"
    words = (
        f"{miss.curve.model} {miss.curve.version}: no batch size keeps to {as_written(p99_seconds)}; "
        f"nearest are {nearest} with {as_written(miss.bound_seconds)}; "
        f"it takes --p99 {rounded_up(miss.bound_seconds)}, or forwards {faster} times as fast"
    )
    if miss.by_median_seconds <= p99_seconds:
        by_median = as_written(miss.by_median_seconds)
        words += f" (by the median of its forwards {by_median}: has this machine other work?)"
    return words


def in_words(threads: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{threads} thread" if threads == 1 else f"{threads} threads"


def _threads(proposal: Proposal) -> dict[str, int]:
    return {"compute_slots": proposal.sharing.slots, "intra_op_threads": proposal.sharing.threads}


def _model(results: Results, curve: Curve) -> dict[str, Any]:
    choice = results.choice_of(curve)
    return {
        "model": curve.model,
        "version": curve.version,
        "points": [_point(results, point) for point in curve.points],
        "proposed": choice
        and {
            "max_batch_size": choice.point.batch_size,
            "max_queue_delay_seconds": choice.max_queue_delay_seconds,
            "fixed_seconds": choice.fixed_seconds,
            "p99_bound_seconds": choice.bound_seconds,
        },
    }


def _point(results: Results, point: Point) -> dict[str, Any]:
    return {
        **asdict(point),
        "examples_per_second": point.examples_per_second,
        "p99_bound_seconds": results.bound_seconds(point),
    }


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}" if seconds < 1 else f"{1e3 * seconds:.0f}"
