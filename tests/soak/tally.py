"""What came of every call, and what must not have come."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

KEPT = 20
OK = frozenset({"OK"})
"""What a caller who does everything right may get."""


@dataclass
class Tally:
    """Outcomes by kind of caller.

    outcomes: (kind, gRPC's code or words) → how often. versions: that have answered. wrong: answers that the eager module does not give.
    unexpected: outcomes that the kind must not have. examples: the first of both, in words.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    versions: set[str] = field(default_factory=set)
    wrong: int = 0
    unexpected: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, kind: str, outcome: str, allowed: frozenset[str], words: str = "") -> None:
        """One outcome; `allowed` are those that this kind may have."""
        self.outcomes[kind, outcome] += 1
        if outcome not in allowed:
            self.unexpected += 1
            self._keep(f"{kind}: {outcome} {words}".strip())

    def note_wrong(self, kind: str, version: str) -> None:
        """One wrong answer."""
        self.wrong += 1
        self._keep(f"{kind}: a wrong answer of version {version}")

    @property
    def calls(self) -> int:
        """All of them."""
        return self.outcomes.total()

    @property
    def answered(self) -> int:
        """Those with an answer that was checked."""
        return sum(count for (_, outcome), count in self.outcomes.items() if outcome == "OK")

    def _keep(self, words: str) -> None:
        if len(self.examples) < KEPT:
            self.examples.append(words)
