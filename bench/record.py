"""All of one run, as it is written down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.measured import Measured
from bench.verdicts import Judged, judge


@dataclass(frozen=True, slots=True)
class Record:
    """facts: of the machine. seconds, pairs: of a measurement, and how many there were.

    warnings: what may have disturbed it. reasons: of what is missed, by the target's name.
    """

    facts: Mapping[str, str]
    seconds: float
    pairs: int
    measured: Measured
    warnings: Sequence[str] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def judged(self) -> list[Judged]:
        """The targets."""
        return judge(self.measured, self.reasons)

    def to_json(self) -> str:
        """The record, its targets among it."""
        fields: dict[str, Any] = asdict(self)
        fields["targets"] = [each.to_json() for each in self.judged]
        return json.dumps(fields, indent=1, ensure_ascii=False) + "\n"
