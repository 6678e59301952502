"""Two engines, of which one answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from seqserve.archive import Archive, read_archive
from seqserve.engines.mirrored import AGAIN_SECONDS, DEFAULT_SECONDS, MODEL_SECONDS, MirroredEngine
from seqserve.errors import ArchiveInvalid, EngineUnavailable
from seqserve.shortage import NO_THREAD
from seqserve.trust import UNCHECKED
from support.archives import make_archive
from support.batching import settle
from support.engines import FakeEngine, FakeModel
from support.time import FakeTime

HALVES = np.full((2, 6), 0.5, np.float32)


@dataclass
class Mirror(FakeEngine):
    """Refuses everything with `refusal`; while it `hangs`, it says nothing at all.

    registered: what it holds, also while it is still at it; it clears up when it is given up.
    """

    refusal: Exception | None = None
    hangs: asyncio.Event = field(default_factory=asyncio.Event)
    registered: set[str] = field(default_factory=set)
    wishes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.hangs.set()

    async def load(self, archive: Archive) -> FakeModel:
        model = await super().load(archive)
        if self.refusal is not None:
            raise self.refusal
        key = f"{archive.name}/{archive.version}"
        self.registered.add(key)
        try:
            await self.hangs.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # taking it away is a call as well
            self.registered.discard(key)
            raise
        return model

    async def set_default(self, name: str, version: str) -> None:
        self.wishes.append(f"{name}/{version}")
        await self.hangs.wait()
        await super().set_default(name, version)


@dataclass
class World:
    """Two engines and time."""

    archive: Archive
    answering: FakeEngine = field(default_factory=lambda: FakeEngine(name="first"))
    mirror: Mirror = field(default_factory=lambda: Mirror(name="second"))
    time: FakeTime = field(default_factory=FakeTime)

    def __post_init__(self) -> None:
        self.engine = MirroredEngine(self.answering, self.mirror, time=self.time.time)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(read_archive(make_archive(tmp_path), UNCHECKED))


async def test_the_answering_engine_answers_and_both_unload(world: World) -> None:
    model = await world.engine.load(world.archive)
    assert world.mirror.registered == {"tiny/1"}, "who hears that it is loaded meets it in both"

    assert (await model.infer(HALVES)).shape == (2, 2)
    await model.unload()

    assert world.engine.name == "first"
    assert (world.answering.batches, world.mirror.batches) == ([2], [])
    assert world.answering.unloaded == world.mirror.unloaded == ["tiny/1"]
    assert world.time.pending() == []


@pytest.mark.parametrize("refusal", [ArchiveInvalid("not for me"), KeyError("a bug")])
async def test_a_mirror_that_refuses_does_not_keep_the_other_from_answering(
    world: World, refusal: Exception
) -> None:
    world.mirror.refusal = refusal
    with capture_logs() as logs:
        model = await world.engine.load(world.archive)
        await world.time.pass_by(AGAIN_SECONDS)

    assert [entry["event"] for entry in logs] == ["model not mirrored"]
    assert (await model.infer(HALVES)).shape == (2, 2)
    await model.unload()
    assert world.answering.unloaded == ["tiny/1"]
    assert world.mirror.loads == ["tiny/1"], "it is not asked again"


@pytest.mark.parametrize(
    "refusal", [EngineUnavailable("away"), RuntimeError(NO_THREAD)], ids=["away", "short"]
)
async def test_a_mirror_that_is_away_gets_the_model_when_it_is_back(world: World, refusal: Exception) -> None:
    world.mirror.refusal = refusal
    with capture_logs() as logs:
        model = await world.engine.load(world.archive)
        assert (await model.infer(HALVES)).shape == (2, 2)
        await world.time.pass_by(AGAIN_SECONDS)  # it is still away
        world.mirror.refusal = None
        await world.time.pass_by(AGAIN_SECONDS)

    await model.unload()
    assert [entry["event"] for entry in logs] == ["model not mirrored", "model mirrored"]
    assert world.mirror.unloaded == world.answering.unloaded == ["tiny/1"]


async def test_a_model_that_is_unloaded_is_tried_no_more(world: World) -> None:
    world.mirror.refusal = EngineUnavailable("away")
    model = await world.engine.load(world.archive)

    await model.unload()
    world.mirror.refusal = None
    await world.time.pass_by(AGAIN_SECONDS)

    assert world.mirror.loads == ["tiny/1"]
    assert world.mirror.unloaded == []


# ---- a mirror that says nothing ----


async def test_a_mirror_that_hangs_is_waited_for_a_while_and_takes_the_model_later(world: World) -> None:
    world.mirror.hangs.clear()
    loading = asyncio.create_task(world.engine.load(world.archive))
    await settle()
    await world.time.pass_by(MODEL_SECONDS - 0.1)
    assert not loading.done()
    await world.time.pass_by(0.1)
    model = await loading
    assert (await model.infer(HALVES)).shape == (2, 2)
    world.mirror.hangs.set()
    await settle()

    await model.unload()
    assert world.mirror.loads == world.mirror.unloaded == ["tiny/1"]


async def test_unloading_gives_up_what_the_mirror_is_just_at(world: World) -> None:
    world.mirror.hangs.clear()
    loading = asyncio.create_task(world.engine.load(world.archive))
    await settle()
    await world.time.pass_by(MODEL_SECONDS)
    assert world.mirror.registered == {"tiny/1"}

    await (await loading).unload()

    assert world.mirror.registered == set()
    assert (world.answering.unloaded, world.mirror.unloaded) == (["tiny/1"], [])


async def test_a_load_that_is_given_up_leaves_nothing_in_either(world: World) -> None:
    world.mirror.hangs.clear()
    loading = asyncio.create_task(world.engine.load(world.archive))
    await settle()
    loading.cancel()
    await asyncio.gather(loading, return_exceptions=True)

    assert loading.cancelled()
    assert world.answering.unloaded == ["tiny/1"]
    assert world.mirror.registered == set()


async def test_both_are_told_the_default(world: World) -> None:
    await world.engine.set_default("tiny", "2")

    assert world.answering.defaults == world.mirror.defaults == {"tiny": "2"}


async def test_a_mirror_that_hangs_hears_the_latest_wish_later(world: World) -> None:
    world.mirror.hangs.clear()
    for version in "123":
        telling = asyncio.create_task(world.engine.set_default("tiny", version))
        await settle()
        await world.time.pass_by(DEFAULT_SECONDS)
        assert telling.done()
    assert world.answering.defaults == {"tiny": "3"}
    assert world.mirror.defaults == {}
    world.mirror.hangs.set()
    await settle()

    assert world.mirror.wishes == ["tiny/1", "tiny/3"]
    assert world.mirror.defaults == {"tiny": "3"}


async def test_closing_waits_for_no_wish(world: World) -> None:
    world.mirror.hangs.clear()
    telling = asyncio.create_task(world.engine.set_default("tiny", "1"))
    await settle()

    await world.engine.aclose()
    world.mirror.hangs.set()
    await telling

    assert world.mirror.defaults == {}
