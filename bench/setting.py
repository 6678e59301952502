"""What every part of a run needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.building import Programs
from bench.generator import Generator
from bench.serving import Front


@dataclass(frozen=True, slots=True)
class Setting:
    """core: the servers'. load_core: the generator's. archive: of the model. store: with it alone.

    folder: for files of the run. fronts: those that can be served here, by label. peers: names of those
    that were asked for.
    """

    core: int
    load_core: int
    seconds: float
    pairs: int
    beside: int
    archive: Path
    store: Path
    folder: Path
    generator: Generator
    programs: Programs
    fronts: Mapping[str, Front]
    peers: Sequence[str]
    say: Callable[[str], None]

    @property
    def quickest(self) -> str:
        """The label of the front that `auto` takes: what a model more costs is measured with it alone."""
        return list(self.fronts)[-1]
