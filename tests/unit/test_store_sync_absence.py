"""Archives whose engine is away: they are tried again, and they alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqserve.errors import EngineUnavailable, ModelNotReady, Overloaded
from support.stores import NOT_HALF, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_an_archive_whose_engine_is_away_is_tried_again_until_it_is_loaded(world: World) -> None:
    world.add("1")
    world.engine.load_faults["tiny/1"] = EngineUnavailable("away")
    await world.sync.load_initially()
    assert world.states == {"tiny/1": "failed"}
    assert world.repository.versions()[0].reason == "ENGINE_UNAVAILABLE"
    waiting = [world.sync.has_to_try_again]
    await world.sync.sync()
    waiting.append(world.sync.has_to_try_again)

    world.engine.load_faults.clear()
    await world.sync.sync()

    assert world.states == {"tiny/1": "ready"}
    assert [*waiting, world.sync.has_to_try_again] == [True, True, False]
    assert world.notes.reloads == [("tiny", "loaded")], "nothing was refused"


async def test_an_engine_that_goes_during_the_golden_check_is_tried_again(world: World) -> None:
    world.add("1")
    world.engine.fault = EngineUnavailable("away")
    await world.sync.load_initially()
    assert world.states == {"tiny/1": "failed"}
    assert world.engine.unloaded == ["tiny/1"]
    world.engine.fault = None
    await world.sync.sync()

    assert world.states == {"tiny/1": "ready"}


async def test_an_engine_without_room_for_the_golden_rows_is_tried_again(world: World) -> None:
    world.add("1")
    world.engine.fault = Overloaded("full")
    await world.sync.load_initially()
    assert world.repository.versions()[0].reason == "ENGINE_UNAVAILABLE"

    world.engine.fault = None
    await world.sync.sync()

    assert world.states == {"tiny/1": "ready"}


async def test_servers_that_others_run_may_be_given_the_right_model_later(world: World) -> None:
    world.engine.runs_verified_archives = False
    world.engine.wrong = NOT_HALF
    world.add("1")
    await world.sync.load_initially()
    assert world.states == {"tiny/1": "failed"}

    world.engine.wrong = None
    await world.sync.sync()

    assert world.states == {"tiny/1": "ready"}


async def test_what_was_refused_for_itself_is_not_tried_again_beside_it(world: World) -> None:
    world.add("1", "absent")
    world.add("1", "wrong", agrees=False)
    world.add("1", "sound")
    world.engine.load_faults["absent/1"] = EngineUnavailable("away")
    await world.sync.load_initially()
    loads = list(world.engine.loads)
    await world.sync.sync()

    assert world.engine.loads == [*loads, "absent/1"]
    assert world.states == {"absent/1": "failed", "sound/1": "ready", "wrong/1": "failed"}


async def test_a_model_that_is_unloaded_waits_for_its_engine_no_more(world: World) -> None:
    world.add("1")
    world.engine.load_faults["tiny/1"] = EngineUnavailable("away")
    await world.sync.load_initially()
    await world.sync.unload("tiny")
    world.engine.load_faults.clear()
    await world.sync.sync()

    assert world.states == {"tiny/1": "unloaded"}
    assert not world.sync.has_to_try_again


async def test_who_asks_for_a_load_while_the_engine_is_away_is_told_and_it_follows(world: World) -> None:
    await world.sync.load_initially()
    world.add("1")
    world.engine.load_faults["tiny/1"] = EngineUnavailable("away")
    with pytest.raises(ModelNotReady, match="version 1: ENGINE_UNAVAILABLE"):
        await world.sync.load("tiny")
    assert world.sync.has_to_try_again
    world.engine.load_faults.clear()
    await world.sync.sync()

    assert world.states == {"tiny/1": "ready"}


async def test_an_archive_that_goes_while_it_waits_is_forgotten(world: World) -> None:
    path = world.add("1")
    world.engine.load_faults["tiny/1"] = EngineUnavailable("away")
    await world.sync.load_initially()
    path.unlink()
    await world.sync.sync()

    assert world.states == {}
    assert not world.sync.has_to_try_again


async def test_versions_that_only_stood_in_while_the_engine_was_away_are_not_left_as_failed(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, policy="latest:1")
    for version in "123":
        world.add(version)
        world.engine.load_faults[f"tiny/{version}"] = EngineUnavailable("away")
    await world.sync.load_initially()
    world.engine.load_faults.clear()
    await world.sync.sync()

    assert world.states == {"tiny/3": "ready"}


async def test_one_that_is_refused_after_it_has_waited_stays_to_be_seen(world: World) -> None:
    world.add("1")
    world.add("2", agrees=False)
    for version in "12":
        world.engine.load_faults[f"tiny/{version}"] = EngineUnavailable("away")
    await world.sync.load_initially()
    world.engine.load_faults.clear()
    for _ in range(3):
        await world.sync.sync()

    assert world.states == {"tiny/1": "ready", "tiny/2": "failed"}
    assert world.repository.versions()[1].reason == "ARCHIVE_INVALID"


async def test_a_lost_engines_versions_stay_to_be_seen(world: World) -> None:
    world.add("1")
    await world.sync.load_initially()
    await world.repository.lose_engine(EngineUnavailable("gone"))
    await world.sync.sync()

    assert world.states == {"tiny/1": "failed"}
    assert not world.sync.has_to_try_again
