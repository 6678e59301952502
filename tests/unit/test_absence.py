"""Versions whose engine is away for a while: out of service at once, and back when they answer as they should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import CapturingLogger

from seqserve.batching.batcher import Part
from seqserve.errors import EngineUnavailable, ModelNotReady, ShuttingDown
from seqserve.repository import absence as absence_module
from seqserve.repository.absence import Absence
from seqserve.repository.batch_watch import REASON as OVERDUE
from seqserve.repository.batch_watch import BatchWatch
from seqserve.repository.sync import StoreSync
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelState, ModelVersion
from support.archives import make_archive
from support.batching import settle
from support.engines import FakeEngine
from support.repositories import load_all

HALVES = np.full((2, 6), 0.5, np.float32)
WRONG = np.array([[0.9, 0.1], [0.9, 0.1]], np.float32)
AWAY = "ENGINE_UNAVAILABLE"


@dataclass
class World:
    """`tiny` 1 and 2 and `other` 1, loaded; what listeners heard since then."""

    sync: StoreSync
    repository: Repository
    engine: FakeEngine
    absence: Absence
    heard: list[tuple[str, str, str]] = field(default_factory=list)

    async def hear(self, entry: ModelVersion) -> None:
        self.heard.append((f"{entry.name}/{entry.version}", entry.state.value, entry.reason))

    def entry(self, name: str = "tiny", version: str = "2") -> ModelVersion:
        found = self.repository.find(name, version)
        assert found is not None
        return found

    async def go_away(self, *keys: tuple[str, str]) -> None:
        for key in keys:
            self.absence.note_away(*key)
        await settle()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    repository, engine = Repository(), FakeEngine()
    archives = [make_archive(tmp_path, *key) for key in (("tiny", "1"), ("tiny", "2"), ("other", "1"))]
    sync = await load_all(repository, archives, engine)
    engine.batches.clear()
    made = World(sync, repository, engine, Absence(repository))
    repository.listeners.append(made.hear)
    yield made
    engine.gate.set()
    await repository.aclose()


async def test_a_version_that_is_away_is_stalled_and_refuses_with_a_retry(world: World) -> None:
    await world.go_away(("tiny", "2"))

    assert (world.entry().state, world.entry().reason) == (ModelState.STALLED, AWAY)
    with pytest.raises(EngineUnavailable, match="is being brought back") as caught:
        world.repository.resolve("tiny", "2")
    assert caught.value.retry_after_seconds > 0
    assert world.repository.resolve("tiny", "").version == "1", "another version answers who names none"
    assert not world.repository.is_ready("tiny", "2")
    assert world.heard == [("tiny/2", "stalled", AWAY)]


async def test_a_model_whose_versions_are_all_away_is_away_under_each_name(world: World) -> None:
    await world.go_away(("tiny", "1"), ("tiny", "2"))

    for version in ("", "1", "2"):
        with pytest.raises(EngineUnavailable):
            world.repository.resolve("tiny", version)
    assert set(world.repository.unanswered()) == {"tiny"}


async def test_who_waits_is_answered_at_once(world: World) -> None:
    world.engine.hold()
    ready = world.repository.resolve("tiny", "2")
    in_flight = asyncio.create_task(ready.batcher.submit([Part(HALVES, 2)], deadline=None))
    await world.engine.entered.wait()
    waiting = asyncio.create_task(ready.batcher.submit([Part(HALVES, 2)], deadline=None))
    await settle()

    await world.go_away(("tiny", "2"))

    assert isinstance(waiting.exception(), EngineUnavailable)
    assert not in_flight.done()
    world.engine.fault = EngineUnavailable("broken pipe")
    world.engine.gate.set()
    with pytest.raises(EngineUnavailable, match="broken pipe"):
        await in_flight


async def test_one_that_answers_its_golden_rows_is_back(world: World) -> None:
    await world.go_away(("tiny", "2"))

    assert await world.absence.bring_back("tiny", "2")

    assert world.engine.batches == [2], "its golden rows were asked for"
    assert (world.entry().state, world.entry().reason) == (ModelState.READY, "")
    [outcome] = await world.repository.resolve("tiny", "").batcher.submit([Part(HALVES, 2)], deadline=None)
    assert outcome.result.shape == (2, 2)
    assert world.heard == [("tiny/2", "stalled", AWAY), ("tiny/2", "ready", "")]


@pytest.mark.parametrize("how", ["answers others", "is away", "answers nonsense"])
async def test_one_that_does_not_answer_its_golden_rows_stays_away(world: World, how: str) -> None:
    await world.go_away(("tiny", "2"))
    if how == "is away":
        world.engine.fault = EngineUnavailable("still away")
    else:
        world.engine.wrong = WRONG if how == "answers others" else WRONG[:, :1]

    assert not await world.absence.bring_back("tiny", "2")

    assert world.entry().state is ModelState.STALLED
    with pytest.raises(EngineUnavailable):
        world.repository.resolve("tiny", "2")
    world.engine.fault = world.engine.wrong = None
    assert await world.absence.bring_back("tiny", "2")
    assert world.entry().state is ModelState.READY


async def test_a_golden_check_without_an_end_is_given_up(tmp_path: Path) -> None:
    repository, engine = Repository(), FakeEngine()
    await load_all(repository, [make_archive(tmp_path)], engine, longest=0.05)
    absence = Absence(repository)
    absence.note_away("tiny", "1")
    engine.hold()

    assert not await absence.bring_back("tiny", "1")

    engine.gate.set()
    assert await absence.bring_back("tiny", "1")
    await repository.aclose()


async def test_nobody_is_asked_for_who_is_not_away(world: World) -> None:
    assert await world.absence.bring_back("tiny", "2")
    assert await world.absence.bring_back("nobody", "1")
    await world.go_away(("nobody", "1"), ("tiny", "7"))

    assert world.engine.batches == []
    assert world.heard == []


async def test_it_is_said_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    log = CapturingLogger()
    monkeypatch.setattr(absence_module, "log", log)
    await world.go_away(*[("tiny", "2")] * 3)
    await world.absence.bring_back("tiny", "2")

    assert [call.args[0] for call in log.calls] == [
        "the engine is away; the model is not ready", "the engine is back",
    ]  # fmt: skip
    assert world.heard == [("tiny/2", "stalled", AWAY), ("tiny/2", "ready", "")]


async def test_that_it_is_not_back_yet_is_said_once_in_each_absence(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = CapturingLogger()
    monkeypatch.setattr(absence_module, "log", log)
    for _ in range(2):
        await world.go_away(("tiny", "2"))
        world.engine.wrong = WRONG
        for _ in range(3):
            assert not await world.absence.bring_back("tiny", "2")
        world.engine.wrong = None
        assert await world.absence.bring_back("tiny", "2")

    said = [call.method_name for call in log.calls if call.args == ("not back yet",)]
    assert said == ["info", "debug", "debug"] * 2


# ---- the whole ----


async def test_the_whole_is_ready_until_all_of_it_is_away_and_again_when_a_part_is_back(world: World) -> None:
    await world.go_away(("tiny", "1"), ("tiny", "2"))
    assert world.repository.are_all_ready()
    assert not world.repository.is_engine_away()

    await world.go_away(("other", "1"))
    assert not world.repository.are_all_ready()
    assert world.repository.is_engine_away()

    await world.absence.bring_back("tiny", "1")
    assert world.repository.are_all_ready()


async def test_versions_that_hang_are_not_an_engine_that_is_away(world: World) -> None:
    await world.go_away(("tiny", "1"), ("tiny", "2"))
    world.entry("other", "1").stall(OVERDUE)

    assert not world.repository.is_engine_away()


# ---- two troubles ----


@pytest.mark.parametrize("is_away_over_first", [True, False])
async def test_a_version_with_two_troubles_serves_once_both_are_over(
    world: World, *, is_away_over_first: bool
) -> None:
    entry = world.entry()
    watch = BatchWatch(world.repository, entry)
    watch.batch_overdue(2)
    await world.go_away(("tiny", "2"))
    assert (entry.state, entry.reason) == (ModelState.STALLED, AWAY)

    if is_away_over_first:
        assert await world.absence.bring_back("tiny", "2")
        assert (entry.state, entry.reason) == (ModelState.STALLED, OVERDUE)
        with pytest.raises(ModelNotReady, match=OVERDUE):
            world.repository.resolve("tiny", "2")
        watch.batch_recovered(3.0, None)
    else:
        watch.batch_recovered(3.0, None)
        assert (entry.state, entry.reason) == (ModelState.STALLED, AWAY)
        assert await world.absence.bring_back("tiny", "2")
    await settle()

    assert (entry.state, entry.reason) == (ModelState.READY, "")
    assert world.repository.resolve("tiny", "2").version == "2"


async def test_a_version_that_is_away_first_and_hangs_then_goes_on_being_away(world: World) -> None:
    entry = world.entry()
    await world.go_away(("tiny", "2"))
    BatchWatch(world.repository, entry).batch_overdue(2)
    await settle()

    assert (entry.state, entry.reason) == (ModelState.STALLED, OVERDUE)
    with pytest.raises(EngineUnavailable):
        world.repository.resolve("tiny", "2")


# ---- unloading ----


async def test_a_version_is_unloaded_while_it_is_away_and_callers_wait_for_nothing(world: World) -> None:
    world.engine.hold()
    ready = world.repository.resolve("tiny", "2")
    with ready:
        in_flight = asyncio.create_task(ready.batcher.submit([Part(HALVES, 2)], deadline=None))
        await world.engine.entered.wait()
        await world.go_away(("tiny", "1"), ("tiny", "2"))
        unloading = asyncio.create_task(world.sync.unload("tiny"))
        with pytest.raises(ShuttingDown, match="unloaded"):
            await in_flight
    world.engine.gate.set()
    await unloading

    assert sorted(world.engine.unloaded) == ["tiny/1", "tiny/2"]
    assert world.entry().state is ModelState.UNLOADED
    assert await world.absence.bring_back("tiny", "2"), "there is nothing to be brought back"
    await world.go_away(("tiny", "2"))
    assert world.entry().state is ModelState.UNLOADED
    await world.sync.load("tiny")
    assert world.entry().state is ModelState.READY


async def test_a_version_that_is_unloaded_while_it_is_brought_back_stays_unloaded(world: World) -> None:
    await world.go_away(("tiny", "2"))
    world.engine.hold()
    coming = asyncio.create_task(world.absence.bring_back("tiny", "2"))
    await world.engine.entered.wait()
    await world.sync.unload("tiny")
    world.engine.gate.set()

    assert await coming
    assert world.entry().state is ModelState.UNLOADED
    with pytest.raises(ModelNotReady):
        world.repository.resolve("tiny", "2")


async def test_a_version_that_stalls_while_it_leaves_does_not_come_back(world: World) -> None:
    ready = world.repository.resolve("tiny", "2")
    with ready:
        await world.sync.leaving.let_go(world.entry())
        await world.go_away(("tiny", "2"))
        await world.absence.bring_back("tiny", "2")
        assert world.entry().state is ModelState.UNLOADING
    await world.sync.leaving.have_all_left()

    assert world.engine.unloaded == ["tiny/2"]
