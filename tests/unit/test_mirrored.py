"""Two engines, of which one answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from seqserve.archive import Archive, read_archive
from seqserve.engines.mirrored import MirroredEngine, Pause
from seqserve.errors import ArchiveInvalid, EngineUnavailable
from support.archives import make_archive
from support.engines import FakeEngine, FakeModel

HALVES = np.full((2, 6), 0.5, np.float32)


class PickyEngine(FakeEngine):
    """Takes nothing."""

    async def load(self, archive: Archive) -> FakeModel:
        raise ArchiveInvalid("not for me")


class AbsentEngine(FakeEngine):
    """Takes nothing for as long as it is away."""

    is_away = True

    async def load(self, archive: Archive) -> FakeModel:
        if self.is_away:
            raise EngineUnavailable("away")
        return await super().load(archive)


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
    model = await MirroredEngine(answering, PickyEngine()).load(read_archive(make_archive(tmp_path)))

    assert (await model.infer(HALVES)).shape == (2, 2)
    await model.unload()
    assert answering.unloaded == ["tiny/1"]


async def test_a_mirror_that_is_away_gets_the_model_when_it_is_back(tmp_path: Path) -> None:
    answering, mirror, tries = FakeEngine(), AbsentEngine(), asyncio.Semaphore(0)
    model = await MirroredEngine(answering, mirror, pause=paused(tries)).load(
        read_archive(make_archive(tmp_path))
    )
    assert (await model.infer(HALVES)).shape == (2, 2)
    tries.release()  # it is still away
    mirror.is_away = False
    tries.release()
    await settled()

    await model.unload()

    assert mirror.unloaded == answering.unloaded == ["tiny/1"]


async def test_a_model_that_is_unloaded_is_tried_no_more(tmp_path: Path) -> None:
    answering, mirror, tries = FakeEngine(), AbsentEngine(), asyncio.Semaphore(0)
    model = await MirroredEngine(answering, mirror, pause=paused(tries)).load(
        read_archive(make_archive(tmp_path))
    )

    await model.unload()
    mirror.is_away = False
    tries.release()
    await settled()

    assert tries.locked() is False
    assert mirror.unloaded == []


def paused(tries: asyncio.Semaphore) -> Pause:
    """A pause that ends with each release."""

    async def pause() -> None:
        await tries.acquire()

    return pause


async def settled() -> None:
    """Everything that could run has run."""
    for _ in range(20):
        await asyncio.sleep(0)
