"""All of one run, as it is written down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.starts import Start
from bench.trials import Results
from bench.verdicts import Judged, judge


@dataclass(frozen=True, slots=True)
class Record:
    """facts: of the machine. forward: seconds of one pass in process, by examples in it.

    seconds, pairs: of a measurement, and how many there were. warnings: what may have disturbed it.
    """

    facts: Mapping[str, str]
    seconds: float
    pairs: int
    results: Results
    starts: Sequence[Start]
    forward: Mapping[int, float]
    warnings: Sequence[str] = ()

    @property
    def judged(self) -> list[Judged]:
        """The targets."""
        return judge(self.results, self.starts, self.forward)

    def to_json(self) -> str:
        """The record, its targets among it."""
        fields: dict[str, Any] = asdict(self)
        fields["targets"] = [{**asdict(each), "verdict": each.verdict} for each in self.judged]
        return json.dumps(fields, indent=1, ensure_ascii=False) + "\n"
