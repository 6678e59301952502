"""Two engines, of which one answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seqserve.archive import Archive, read_archive
from seqserve.engines.mirrored import MirroredEngine
from seqserve.errors import EngineUnavailable
from support.archives import make_archive
from support.engines import FakeEngine, FakeModel

HALVES = np.full((2, 6), 0.5, np.float32)


class AbsentEngine(FakeEngine):
    """Takes nothing."""

    async def load(self, archive: Archive) -> FakeModel:
        raise EngineUnavailable("away")


async def test_the_answering_engine_answers_and_both_unload(tmp_path: Path) -> None:
    answering, mirror = FakeEngine(name="first"), FakeEngine(name="second")
    engine = MirroredEngine(answering, mirror)
    model = await engine.load(read_archive(make_archive(tmp_path)))

    assert (await model.infer(HALVES)).shape == (2, 2)
    await model.unload()

    assert engine.name == "first"
    assert (answering.batches, mirror.batches) == ([2], [])
    assert answering.unloaded == mirror.unloaded == ["tiny/1"]


async def test_a_mirror_that_refuses_does_not_keep_the_other_from_answering(tmp_path: Path) -> None:
    answering = FakeEngine()
    model = await MirroredEngine(answering, AbsentEngine()).load(read_archive(make_archive(tmp_path)))

    assert (await model.infer(HALVES)).shape == (2, 2)
    await model.unload()
    assert answering.unloaded == ["tiny/1"]
