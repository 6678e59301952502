"""What an attack on a front has sent, what came of it, and what is kept of it where something was found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fuzz import target

CALL_SECONDS = 60.0
HANG_SECONDS = CALL_SECONDS - 1
"""A call that is over only then was ended by its caller. A mutated call may itself ask for less time."""
FAULTS = frozenset({"UNKNOWN", "INTERNAL", "DATA_LOSS", "UNAVAILABLE"})


@dataclass
class Attack:
    """What was sent, and what came of it. faults: what should not have been, in words.

    latest: what the last few connections and calls sent, by their names.
    """

    front: str
    connections: int = 0
    frames: int = 0
    calls: int = 0
    answers: int = 0
    lost: int = 0
    ended: int = 0
    seconds: float = 0.0
    codes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    latest: dict[str, bytes] = field(default_factory=dict)

    @property
    def lost_with(self) -> frozenset[str]:
        """The codes of calls that a server of grpc.aio takes with it where it ends by itself."""
        return frozenset({"CANCELLED", "UNAVAILABLE"} if self.front == "python" else ())

    @property
    def executions(self) -> str:
        """How much was sent, in words."""
        return f"{self.connections:,} connections, {self.frames:,} frames, {self.calls:,} calls"

    def line(self) -> str:
        """For the table at the end."""
        codes = ", ".join(f"{code} {count}" for code, count in self.codes.most_common())
        return (
            f"{self.front} front: {self.connections} connections of {self.frames} frames, {self.calls} mutated "
            f"calls ({codes}), {self.answers} right answers beside them, {self.lost} lost with {self.ended} servers, "
            f"{self.seconds:.0f} s, "
            f"{'; '.join(self.faults[:5]) or 'no fault'}"
        )

    def note(self, code: str, seconds: float, words: str) -> None:
        """What came of a mutated call after so many seconds, in gRPC's code. words: what tells it from others."""
        self.codes[code] += 1
        is_hang = code == "DEADLINE_EXCEEDED" and seconds >= HANG_SECONDS
        if is_hang or code in FAULTS - self.lost_with:
            self.faults.append(f"{code} after {seconds:.0f} s: {words}")

    def keep_latest(self) -> list[Path]:
        """Write down what was sent last; returns where."""
        target.CRASHES.mkdir(exist_ok=True)
        paths = []
        for name, data in self.latest.items():
            paths.append(target.CRASHES / f"{self.front}-{name}")
            paths[-1].write_bytes(data)
        return paths
