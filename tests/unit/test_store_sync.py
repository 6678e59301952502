"""The store is followed: what is new is loaded beside the old, and nothing that serves is lost."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import CapturingLogger

from seqserve.batching.batcher import Part
from seqserve.errors import LoadInProgress, ModelNotFound, ModelNotReady, StoreMissing
from seqserve.repository import sync as sync_module
from seqserve.repository.patience import SETTLE_SECONDS
from seqserve.repository.routing import Routing
from seqserve.repository.shelf import Shelved
from seqserve.repository.versions import ModelState
from support.archives import make_archive
from support.stores import HALVES, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_new_version_is_loaded_and_answers_from_then_on(world: World) -> None:
    world.add("1")
    await world.sync.load_initially()
    world.add("2")
    await world.sync.sync()

    assert world.states == {"tiny/1": "ready", "tiny/2": "ready"}
    assert world.repository.resolve("tiny", "").version == "2"
    assert world.notes.reloads == [("tiny", "loaded")] * 2
    assert world.engine.defaults == {"tiny": "2"}


async def test_with_latest_the_old_version_goes_after_the_new_one_has_come(tmp_path: Path) -> None:
    world = World(tmp_path, policy="latest:1")
    world.add("1")
    await world.sync.load_initially()
    world.add("2")
    await world.sync.sync()
    await world.sync.leaving.have_all_left()

    assert world.states == {"tiny/2": "ready"}
    assert world.engine.unloaded == ["tiny/1"]


async def test_a_refused_version_leaves_the_old_one_serving_and_is_not_tried_again(tmp_path: Path) -> None:
    world = World(tmp_path, policy="latest:1")
    world.add("1")
    await world.sync.load_initially()
    world.add("2", agrees=False)
    for _ in range(3):
        await world.settle()

    assert world.states == {"tiny/1": "ready", "tiny/2": "failed"}
    assert world.repository.resolve("tiny", "").version == "1"
    assert world.notes.reloads == [("tiny", "loaded"), ("tiny", "refused")]
    assert world.notes.golden == [("tiny/1", True), ("tiny/2", False)]


async def test_at_the_start_latest_falls_back_to_a_version_that_is_sound(tmp_path: Path) -> None:
    world = World(tmp_path, policy="latest:1")
    world.add("1")
    world.add("2")
    world.add("3", agrees=False)
    await world.sync.load_initially()

    assert world.states == {"tiny/2": "ready", "tiny/3": "failed"}


async def test_a_refused_version_is_tried_again_when_its_file_changes(world: World) -> None:
    world.add("1", agrees=False)
    await world.sync.load_initially()
    (world.store / "tiny-1.mar").unlink()
    world.add("1")
    await world.settle()

    assert world.states == {"tiny/1": "ready"}


async def test_an_archive_is_left_alone_until_its_hash_fits(world: World) -> None:
    await world.sync.load_initially()
    path = world.add("1")
    whole, sidecar = path.read_bytes(), path.with_name(f"{path.name}.sha256")
    path.write_bytes(whole[:100])
    await world.sync.sync()
    world.time += SETTLE_SECONDS / 2
    path.write_bytes(whole[:200])
    await world.sync.sync()
    world.time += SETTLE_SECONDS / 2
    await world.sync.sync()
    assert world.states == {}

    path.write_bytes(whole)
    await world.sync.sync()
    assert world.states == {"tiny/1": "ready"}
    assert sidecar.is_file()


@pytest.mark.parametrize("damage", ["cut", "without its hash"])
async def test_what_stays_incomplete_is_refused(world: World, damage: str) -> None:
    await world.sync.load_initially()
    path = world.add("1")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    else:
        path.with_name(f"{path.name}.sha256").unlink()
    await world.settle()

    assert world.states == {"tiny/1": "failed"}
    assert world.repository.versions()[0].reason == "ARCHIVE_INVALID"


async def test_other_bytes_under_the_number_of_a_version_that_serves_are_refused(world: World) -> None:
    path = world.add("1")
    await world.sync.load_initially()
    sha256 = world.repository.resolve("tiny", "1").archive_sha256
    path.unlink()
    make_archive(world.store, "tiny", "1", golden=(HALVES[:1], np.full((1, 2), 0.5, np.float32)))
    for _ in range(2):
        await world.settle()

    assert world.repository.resolve("tiny", "1").archive_sha256 == sha256
    assert world.notes.reloads == [("tiny", "loaded"), ("tiny", "refused")]


async def test_the_same_bytes_copied_again_are_no_change(world: World) -> None:
    path = world.add("1")
    await world.sync.load_initially()
    shutil.copy(path, world.store / "copy")
    (world.store / "copy").rename(path)
    await world.settle()

    assert world.notes.reloads == [("tiny", "loaded")]


async def test_a_version_whose_file_goes_is_unloaded_but_never_the_last_one(world: World) -> None:
    first, second = world.add("1"), world.add("2")
    await world.sync.load_initially()
    first.unlink()
    await world.settle()
    assert world.states == {"tiny/2": "ready"}

    second.unlink()
    await world.settle()
    assert world.states == {"tiny/2": "ready"}


async def test_a_failed_version_whose_file_goes_is_forgotten(world: World) -> None:
    path = world.add("1", agrees=False)
    world.add("1", "other")
    await world.sync.load_initially()
    path.unlink()
    await world.sync.sync()

    assert world.states == {"other/1": "ready"}
    with pytest.raises(ModelNotFound):
        world.repository.resolve("tiny", "")


async def test_a_store_that_goes_away_takes_nothing_with_it(world: World) -> None:
    world.add("1")
    await world.sync.load_initially()
    world.store.rename(world.store.with_name("elsewhere"))
    with pytest.raises(StoreMissing):
        await world.sync.sync()

    assert world.states == {"tiny/1": "ready"}


async def test_a_version_with_a_label_or_a_share_is_kept_whatever_the_policy(tmp_path: Path) -> None:
    world = World(tmp_path, policy="latest:1")
    for version in "1234":
        world.add(version)
    await world.repository.set_routing({"tiny": Routing(labels={"stable": "1"}, weights={"2": 5})})
    await world.sync.load_initially()

    assert world.states == {"tiny/1": "ready", "tiny/2": "ready", "tiny/4": "ready"}


async def test_a_listed_version_that_is_not_there_keeps_what_serves(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add("1")
    await world.sync.load_initially()
    world.policy = "listed:7"
    await world.sync.sync()

    assert world.states == {"tiny/1": "ready"}


async def test_who_is_answered_keeps_a_version_that_is_to_go(tmp_path: Path) -> None:
    world = World(tmp_path, policy="latest:1")
    world.add("1")
    await world.sync.load_initially()
    world.add("2")

    with world.repository.resolve("tiny", "1") as bound:
        await world.sync.sync()
        assert world.states == {"tiny/1": "unloading", "tiny/2": "ready"}
        outcomes = await bound.batcher.submit([Part(HALVES, 2)], deadline=None)
        assert world.engine.unloaded == []
    await world.sync.leaving.have_all_left()

    assert len(outcomes) == 1
    assert world.engine.unloaded == ["tiny/1"]


async def test_who_keeps_a_version_that_is_to_go_holds_nothing_else_up(tmp_path: Path) -> None:
    world = World(tmp_path, policy="latest:1")
    world.add("1")
    await world.sync.load_initially()
    world.add("2")

    with world.repository.resolve("tiny", "1"):
        await world.sync.sync()
        world.add("1", "other")
        await world.sync.sync()
        await world.sync.load("other")
        assert world.states == {"other/1": "ready", "tiny/1": "unloading", "tiny/2": "ready"}


async def test_a_version_that_is_wanted_back_while_it_leaves_comes_back_after_that(tmp_path: Path) -> None:
    world = World(tmp_path, policy="latest:1")
    world.add("1")
    await world.sync.load_initially()
    world.add("2")
    with world.repository.resolve("tiny", "1"):
        await world.sync.sync()
        world.policy = "all"
        await world.sync.sync()
        assert world.states == {"tiny/1": "unloading", "tiny/2": "ready"}
    await world.sync.leaving.have_all_left()
    await world.sync.sync()

    assert world.states == {"tiny/1": "ready", "tiny/2": "ready"}


async def test_a_label_moves_when_its_version_can_answer_and_fails_nobody_before(tmp_path: Path) -> None:
    world = World(tmp_path, policy="latest:1")
    world.add("1")
    world.add("2")
    await world.sync.load_initially()
    await world.repository.set_routing({"tiny": Routing(labels={"stable": "2"})})
    await world.repository.set_routing({"tiny": Routing(labels={"stable": "1"})})
    assert world.repository.resolve("tiny", "").version == "2"

    world.engine.hold()
    syncing = asyncio.create_task(world.sync.sync())
    await world.engine.entered.wait()
    assert world.repository.resolve("tiny", "stable").version == "2"
    world.engine.gate.set()
    await syncing

    assert world.repository.resolve("tiny", "").version == "1"
    assert world.states == {"tiny/1": "ready", "tiny/2": "ready"}


async def test_a_first_label_takes_the_default_with_it_only_when_its_version_is_up(tmp_path: Path) -> None:
    world = World(tmp_path, policy="latest:1")
    world.add("1")
    world.add("2")
    await world.sync.load_initially()

    await world.repository.set_routing({"tiny": Routing(labels={"stable": "1"})})
    assert world.repository.resolve("tiny", "").version == "2"
    await world.sync.sync()
    assert world.repository.resolve("tiny", "").version == "1"


async def test_a_hanging_version_does_not_stand_in_for_one_that_answers(world: World) -> None:
    first = world.add("1")
    world.add("2")
    await world.sync.load_initially()
    hanging = world.repository.find("tiny", "2")
    assert hanging is not None
    hanging.state = ModelState.STALLED
    await world.repository.put(hanging)

    world.policy = "latest:1"
    await world.settle()
    first.unlink()
    await world.settle()

    assert world.states == {"tiny/1": "ready", "tiny/2": "stalled"}


async def test_a_version_with_a_label_stays_when_its_file_goes(world: World) -> None:
    first = world.add("1")
    world.add("2")
    await world.repository.set_routing({"tiny": Routing(labels={"stable": "1"})})
    await world.sync.load_initially()
    first.unlink()
    await world.settle()

    assert world.repository.resolve("tiny", "").version == "1"


async def test_a_file_that_is_replaced_takes_its_version_nowhere(world: World) -> None:
    first = world.add("1")
    world.add("2")
    await world.sync.load_initially()
    content = first.read_bytes()
    first.unlink()
    await world.sync.sync()
    first.write_bytes(content)
    await world.settle()

    assert world.states == {"tiny/1": "ready", "tiny/2": "ready"}
    assert world.engine.unloaded == []


async def test_unload_takes_the_last_version_and_the_watcher_leaves_it_so(world: World) -> None:
    world.add("1")
    await world.sync.load_initially()
    await world.sync.unload("tiny")
    world.add("2")
    await world.sync.sync()

    assert world.states == {"tiny/1": "unloaded"}
    with pytest.raises(ModelNotReady, match="1 unloaded"):
        world.repository.resolve("tiny", "")
    assert world.repository.are_all_ready()  # the whole goes on serving other models

    await world.sync.load("tiny")
    assert world.states == {"tiny/1": "ready", "tiny/2": "ready"}


async def test_load_tries_a_refused_version_again_and_says_when_it_is_refused(world: World) -> None:
    world.add("1")
    world.add("2", agrees=False)
    await world.sync.load_initially()

    with pytest.raises(ModelNotReady, match="version 2: ARCHIVE_INVALID"):
        await world.sync.load("tiny")
    assert world.notes.reloads == [("tiny", "loaded"), ("tiny", "refused"), ("tiny", "refused")]


async def test_who_loads_or_unloads_what_is_not_there_is_told(world: World) -> None:
    await world.sync.load_initially()
    with pytest.raises(ModelNotFound):
        await world.sync.load("nobody")
    with pytest.raises(ModelNotFound):
        await world.sync.unload("nobody")


async def test_a_model_that_is_being_loaded_takes_no_second_order(world: World) -> None:
    await world.sync.load_initially()
    world.add("1")
    world.engine.hold()
    loading = asyncio.create_task(world.sync.load("tiny"))
    await world.engine.entered.wait()

    with pytest.raises(LoadInProgress):
        await world.sync.load("tiny")
    with pytest.raises(LoadInProgress):
        await world.sync.unload("tiny")
    world.engine.gate.set()
    await loading
    await world.sync.unload("tiny")


async def test_a_cancelled_load_leaves_nothing_behind_and_can_be_done_again(world: World) -> None:
    await world.sync.load_initially()
    world.add("1")
    world.engine.hold()
    syncing = asyncio.create_task(world.sync.sync())
    await world.engine.entered.wait()
    syncing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await syncing
    world.engine.gate.set()
    assert world.states == {}
    assert world.engine.unloaded == ["tiny/1"]

    await world.sync.load("tiny")
    assert world.states == {"tiny/1": "ready"}


async def test_what_the_policy_leaves_out_is_not_read_anew_with_each_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, policy="latest:1")
    for version in "123":
        world.add(version)
    await world.sync.load_initially()
    await world.sync.sync()
    read: list[str] = []
    monkeypatch.setattr(Shelved, "sha256", lambda archive: read.append(archive.version))

    await world.settle()

    assert read == []
    assert world.states == {"tiny/3": "ready"}


async def test_what_names_a_version_that_is_not_ready_is_told_once_each_time_it_happens(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = CapturingLogger()
    monkeypatch.setattr(sync_module, "log", log)
    world.add("1")
    await world.sync.load_initially()

    wrong = {"tiny": Routing(labels={"stable": "7"}, weights={"9": 1, "1": 99})}
    for routing in (wrong, {}, wrong):
        await world.repository.set_routing(routing)
        await world.settle()

    told = [(call.kwargs["named_by"], call.kwargs["version"]) for call in log.calls]
    assert told == [("label stable", "7"), ("a weight", "9")] * 2
