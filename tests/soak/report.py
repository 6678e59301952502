"""What a soak has shown, for people and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from soak.growth import Growth
from soak.tally import Tally

MIB = 2**20


@dataclass(frozen=True)
class Report:
    """Of one run. minutes: how long callers called. status: the gateway's exit status.

    left: what stood in its gauges once all callers were gone, None for a gauge that it did not show.
    unmeasured: what should have been measured, and could not be, in words.
    """

    title: str
    minutes: float
    tally: Tally
    growths: list[Growth]
    status: int
    left: dict[str, float | None] = field(default_factory=dict)
    unmeasured: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """Everything that must not be, in words."""
        found = [f"{self.tally.wrong} wrong answers"] if self.tally.wrong else []
        found += [f"{self.tally.unexpected} unexpected outcomes"] if self.tally.unexpected else []
        found += [f"exit status {self.status}"] if self.status else []
        found += [f"{name} was {value:g} at the end" for name, value in self.left.items() if value]
        found += [f"{name} was not shown at the end" for name, value in self.left.items() if value is None]
        found += self.unmeasured
        return found + [f"{each.name} grows" for each in self.growths if each.is_leak]

    def lines(self) -> list[str]:
        """For a terminal."""
        lines = [f"{self.title}: {self.minutes:.1f} minutes, {self.tally.calls:,} calls, "]
        lines[0] += f"{self.tally.answered:,} answers checked, {self.tally.wrong} wrong"
        for (kind, outcome), count in sorted(self.tally.outcomes.items()):
            lines.append(f"  {kind:10} {outcome:20} {count:>12,}")
        lines += [_grown(each) for each in self.growths]
        lines += [f"  ! {words}" for words in self.tally.examples]
        return [*lines, "  " + ("; ".join(self.faults) or "no fault")]


def _grown(growth: Growth) -> str:
    unit, scale = ("MiB", MIB) if growth.name == "memory_bytes" else ("", 1)
    first, last, slope, low, high, sure, allowed = (
        each / scale
        for each in (
            growth.first,
            growth.last,
            growth.slope,
            growth.low,
            growth.high,
            growth.sure,
            growth.allowed,
        )
    )
    name = growth.name.removesuffix("_bytes")
    an_hour = f"{slope:+.2f} an hour ({low:+.2f} to {high:+.2f})"
    return (
        f"  {name:11} {first:.1f} → {last:.1f} {unit}, {an_hour}; surely {sure:+.1f}, allowed {allowed:.1f}"
    )
