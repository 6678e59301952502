"""All that one run has found out, before it is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.growth import Growth
from bench.neutral import Neutral
from bench.pairs import Ratio
from bench.starts import Start
from bench.trials import Results


@dataclass(slots=True)
class Measured:
    """forward: seconds of one pass in process, by examples in it. starts, growth: by front.

    gpu: batches a second through the engine, and of the bare forward, in pairs. neutral: by perf_analyzer.
    build_seconds: of `seqserve build --all`, 0 where it was not measured. through: ratios of
    bench.through_torchserve by the targets' names. absent: why something is not there, by its label or by a
    target's name.
    """

    results: Results = field(default_factory=Results)
    forward: Mapping[int, float] = field(default_factory=dict)
    gpu: Sequence[tuple[float, float]] = ()
    starts: dict[str, Sequence[Start]] = field(default_factory=dict)
    growth: dict[str, Sequence[Growth]] = field(default_factory=dict)
    neutral: list[Neutral] = field(default_factory=list)
    build_seconds: float = 0.0
    through: Mapping[str, Ratio] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
