"""A store that is followed by hand, with a clock to be turned by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from seqserve.archive import scan_store
from seqserve.repository.loading import LoadObserver
from seqserve.repository.patience import SETTLE_SECONDS
from seqserve.repository.policy import VersionPolicy
from seqserve.repository.sync import StoreSync
from seqserve.repository.table import Repository
from seqserve.trust import UNCHECKED, Trust
from support.archives import make_archive
from support.engines import FakeEngine
from support.repositories import store_sync

HALVES = np.full((2, 6), 0.5, np.float32)
NOT_HALF = np.array([[0.9, 0.1], [0.9, 0.1]], np.float32)


class Notes(LoadObserver):
    """What was told about loading."""

    def __init__(self) -> None:
        self.reloads: list[tuple[str, str]] = []
        self.golden: list[tuple[str, bool]] = []

    def note_reload(self, model: str, result: str) -> None:
        self.reloads.append((model, result))

    def note_golden_check(self, model: str, version: str, *, delta: float | None) -> None:
        self.golden.append((f"{model}/{version}", delta is not None))


@dataclass
class World:
    """A store, what follows it, and a clock to be turned by hand."""

    store: Path
    policy: str = "all"
    time: float = 100.0
    trust: Trust = UNCHECKED
    engine: FakeEngine = field(default_factory=FakeEngine)
    repository: Repository = field(default_factory=Repository)
    notes: Notes = field(default_factory=Notes)

    def __post_init__(self) -> None:
        self.sync: StoreSync = store_sync(
            self.repository, lambda: scan_store(self.store), self.engine,
            policy_of=lambda _: VersionPolicy.parse(self.policy), observer=self.notes, clock=lambda: self.time,
            trust=self.trust,
        )  # fmt: skip

    def add(self, version: str, name: str = "tiny", *, agrees: bool = True) -> Path:
        golden = (HALVES, np.full((2, 2), 0.5, np.float32) if agrees else NOT_HALF)
        return make_archive(self.store, name, version, golden=golden)

    async def settle(self) -> None:
        """Two looks with enough time between them for what is half copied or away to count as such."""
        await self.sync.sync()
        self.time += SETTLE_SECONDS
        await self.sync.sync()
        await self.sync.leaving.have_all_left()

    @property
    def states(self) -> dict[str, str]:
        return {f"{entry.name}/{entry.version}": entry.state.value for entry in self.repository.versions()}
