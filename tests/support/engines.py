"""An engine without torch, whose answers are easy to foretell and tell the rows apart."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from seqserve.archive import Archive
from seqserve.engines.base import batch_headers

FloatArray = npt.NDArray[np.float32]


def expected_answers(rows: npt.ArrayLike, classes: int) -> FloatArray:
    """What FakeEngine answers to rows [n, *example]: even probabilities, tilted by the row's mean.

    Rows of halves get exactly even ones, as `support.archives.made_up_golden` has them.
    """
    flat = np.asarray(rows, np.float32).reshape(len(np.asarray(rows)), -1)
    answers = np.full((len(flat), classes), 1 / classes, np.float32)
    tilt = (flat.mean(axis=1) - np.float32(0.5)) / np.float32(classes)
    answers[:, 0] += tilt
    answers[:, -1] -= tilt
    return answers


@dataclass
class FakeEngine:
    """Answers at once unless `hold` was called; `fault` is raised, `wrong` is answered instead.

    headers: that went with each batch. load_faults: what loading raises, by NAME/VERSION. seconds: that a batch takes.
    """

    name: str = "fake"
    device: str = "cpu"
    can_be_away: bool = True
    runs_verified_archives: bool = True
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    fault: Exception | None = None
    wrong: FloatArray | None = None
    seconds: float = 0.0
    batches: list[int] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    load_faults: dict[str, Exception] = field(default_factory=dict)
    loads: list[str] = field(default_factory=list)
    unloaded: list[str] = field(default_factory=list)
    defaults: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.gate.set()

    def hold(self) -> None:
        """Keep every batch from now on waiting until `gate` is set; `entered` tells that one waits."""
        self.gate.clear()
        self.entered.clear()

    async def load(self, archive: Archive) -> FakeModel:
        self.loads.append(f"{archive.name}/{archive.version}")
        if fault := self.load_faults.get(self.loads[-1]):
            raise fault
        return FakeModel(self, archive)

    async def set_default(self, name: str, version: str) -> None:
        self.defaults[name] = version

    async def aclose(self) -> None:
        pass


@dataclass
class FakeModel:
    """One loaded version."""

    engine: FakeEngine
    archive: Archive

    async def infer(self, batch: FloatArray) -> FloatArray:
        self.engine.batches.append(len(batch))
        self.engine.headers.append(dict(batch_headers.get()))
        self.engine.entered.set()
        await self.engine.gate.wait()
        if self.engine.seconds:
            await asyncio.sleep(self.engine.seconds)
        if self.engine.fault is not None:
            raise self.engine.fault
        if self.engine.wrong is not None:
            return self.engine.wrong
        return expected_answers(batch, self.archive.signature.output.example_shape[-1])

    async def unload(self) -> None:
        self.engine.unloaded.append(f"{self.archive.name}/{self.archive.version}")
