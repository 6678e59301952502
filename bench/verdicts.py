"""What the measurements say of each target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.evidence import Best
from bench.measured import Measured
from bench.pairs import FEWEST_PAIRS, Ratio, Verdict, ratio_of
from bench.targets import BUILD, TARGETS, Target

NO_REASON = "no reason has been written down"
NO_VERDICT = "the interval reaches from one side of the target to the other"
NOT_RUN = "no trial of this run says anything of it"


@dataclass(frozen=True, slots=True)
class Judged:
    """A target and what was measured. ratio: None where it was not. why: not, or the reason of a miss.

    against: the label of what it was held against, where that is whoever was the quickest.
    """

    target: Target
    ratio: Ratio | None
    why: str = ""
    against: str = ""

    @property
    def verdict(self) -> Verdict:
        """See Ratio."""
        if self.ratio is None:
            return "not measured"
        limit = self.target.limit
        return self.ratio.verdict_below(limit) if self.target.at_most else self.ratio.verdict(limit)

    def to_json(self) -> dict[str, Any]:
        """Its fields."""
        return {
            "name": self.target.name,
            "what": self.target.what,
            "against": self.against,
            "limit": self.target.limit,
            "at_most": self.target.at_most,
            "ratio": asdict(self.ratio) if self.ratio else None,
            "verdict": self.verdict,
            "why": self.why,
        }


def judge(of: Measured, reasons: Mapping[str, str]) -> list[Judged]:
    """Every target. reasons: sentences of why one is missed, or undecided, by its name."""
    return [_judged(target, of, reasons.get(target.name, "")) for target in TARGETS]


def without_reasons(judged: Sequence[Judged]) -> list[Target]:
    """Those that are missed, and nobody has said why."""
    return [each.target for each in judged if each.why == NO_REASON]


def _judged(target: Target, of: Measured, reason: str) -> Judged:
    ratio = _ratio(target, of)
    if ratio is None:
        return Judged(target, None, _missing(target, of))
    against = target.pairs.against(of) if isinstance(target.pairs, Best) else ""
    judged = Judged(target, ratio, reason, against)
    if judged.verdict == "met":
        return replace(judged, why="")
    without = NO_REASON if judged.verdict == "missed" else NO_VERDICT
    return replace(judged, why=reason or without)


def _ratio(target: Target, of: Measured) -> Ratio | None:
    if any(label in of.absent for label in target.needs):
        return None
    if target.pairs is not None:
        pairs = target.pairs(of)
        return ratio_of(pairs) if len(pairs) >= FEWEST_PAIRS else None
    if target.name == BUILD:
        return Ratio(*[of.build_seconds] * 3) if of.build_seconds else None
    return of.through.get(target.name)


def _missing(target: Target, of: Measured) -> str:
    """Why it was not measured."""
    reasons = [of.absent[label] for label in (*target.needs, target.name) if label in of.absent]
    if reasons:
        return reasons[0]
    pairs = target.pairs(of) if target.pairs else []
    return f"{FEWEST_PAIRS} pairs are needed, not {len(pairs)}" if pairs else NOT_RUN
