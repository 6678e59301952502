"""Which versions a played TorchServe comes to have, through its management API, and what is left of them."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from seqserve.archive import read_archive
from seqserve.engines.torchserve.wire import needed_message_bytes
from seqserve.errors import ArchiveInvalid, EngineUnavailable
from seqserve.trust import UNCHECKED
from support.archives import make_archive
from support.batching import settle
from support.torchserve import TINY, archive
from support.torchserve_world import World, running_world

BOTH = {"tiny": {"1", "2"}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path) as running:
        yield running


def refusal(message: str) -> httpx.Response:
    return httpx.Response(500, json={"code": 500, "message": message})


# ---- coming ----


async def test_the_verified_bytes_are_registered_under_their_name(world: World, tmp_path: Path) -> None:
    loaded = archive(tmp_path)
    (tmp_path / "tiny-1.mar").write_bytes(b"changed after it was verified")

    await world.engine.load(loaded)

    assert world.management.models["tiny"]["1"].content == loaded.content
    assert (world.endpoint.model_store / "tiny-1.mar").stat().st_mode & 0o777 == 0o600


async def test_a_version_gets_the_workers_that_are_wished_for(tmp_path: Path) -> None:
    async with running_world(tmp_path, workers=3) as world:
        await world.engine.load(archive(tmp_path))

        assert world.management.models["tiny"]["1"].workers == 3


async def test_a_version_is_loaded_once(world: World, tmp_path: Path) -> None:
    await world.engine.load(archive(tmp_path))

    with pytest.raises(ArchiveInvalid, match="already"):
        await world.engine.load(archive(tmp_path))

    assert world.registered == {"tiny": {"1"}}
    assert world.stored == {"tiny-1.mar"}


async def test_of_two_loads_of_one_version_at_once_one_succeeds(world: World, tmp_path: Path) -> None:
    loaded = archive(tmp_path)
    world.management.gates["POST"] = gate = asyncio.Event()
    loads = [asyncio.create_task(world.engine.load(loaded)) for _ in range(2)]
    await world.management.arrived.acquire()
    await settle()
    gate.set()
    results = await asyncio.gather(*loads, return_exceptions=True)

    assert [type(result).__name__ for result in results] == ["TorchServeModel", "ArchiveInvalid"]
    assert world.registered == {"tiny": {"1"}}
    assert world.stored == {"tiny-1.mar"}


async def test_two_versions_are_registered_beside_each_other(world: World, tmp_path: Path) -> None:
    archives = [archive(tmp_path, version) for version in "12"]
    world.management.gates["POST"] = gate = asyncio.Event()
    loads = [asyncio.create_task(world.engine.load(loaded)) for loaded in archives]
    for _ in loads:  # both are there before one is answered
        await world.management.arrived.acquire()
    gate.set()
    await asyncio.gather(*loads)

    assert world.registered == BOTH
    assert world.management.defaults == {"tiny": "2"}


async def test_what_an_earlier_time_has_left_of_a_version_is_replaced(world: World, tmp_path: Path) -> None:
    world.management.put("tiny", "1", b"other bytes")
    world.management.put("tiny", "2", b"other bytes")
    loaded = archive(tmp_path, "1")

    await world.engine.load(loaded)

    assert world.management.models["tiny"]["1"].content == loaded.content


# ---- refused ----


async def test_a_refused_archive_leaves_nothing_and_can_be_tried_again(world: World, tmp_path: Path) -> None:
    world.management.refusal = refusal("Failed to start workers for model tiny version: 1")

    with pytest.raises(ArchiveInvalid, match="TorchServe refused: Failed to start workers"):
        await world.engine.load(archive(tmp_path))

    assert world.registered == {}
    assert world.stored == set()
    world.management.refusal = None
    await world.engine.load(archive(tmp_path))
    assert world.registered == {"tiny": {"1"}}


async def test_an_archive_that_finds_no_room_to_be_unpacked_is_no_fault_of_its_own(
    world: World, tmp_path: Path
) -> None:
    world.management.refusal = refusal("Failed to save model: tiny-1.mar")

    with pytest.raises(EngineUnavailable, match="its folder is full"):
        await world.engine.load(archive(tmp_path))

    assert (world.registered, world.stored) == ({}, set())


async def test_a_refusal_without_words_is_told_by_its_number(world: World, tmp_path: Path) -> None:
    world.management.refusal = httpx.Response(507, content=b"<html>")

    with pytest.raises(ArchiveInvalid, match="HTTP 507"):
        await world.engine.load(archive(tmp_path))


async def test_a_refused_version_leaves_the_default_to_the_others(world: World, tmp_path: Path) -> None:
    await world.engine.load(archive(tmp_path, "1"))
    world.management.refusal = refusal("no")

    with pytest.raises(ArchiveInvalid):
        await world.engine.load(archive(tmp_path, "2"))

    assert world.registered == {"tiny": {"1"}}
    assert world.management.defaults == {"tiny": "1"}


async def test_a_load_that_is_given_up_leaves_nothing(world: World, tmp_path: Path) -> None:
    world.management.gates["POST"] = asyncio.Event()
    loading = asyncio.create_task(world.engine.load(archive(tmp_path)))
    await world.management.arrived.acquire()

    loading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await loading
    assert world.registered == {}
    assert world.stored == set()


@pytest.mark.parametrize("is_silent", [True, False])
async def test_a_management_api_that_is_away_is_unavailable(
    world: World, tmp_path: Path, *, is_silent: bool
) -> None:
    world.management.is_silent, world.management.is_away = is_silent, not is_silent

    with pytest.raises(EngineUnavailable, match="management API does not answer"):
        await world.engine.load(archive(tmp_path))

    assert world.stored == set()


async def test_a_server_that_is_being_started_again_takes_nothing(world: World, tmp_path: Path) -> None:
    world.engine.watch.note_down()

    with pytest.raises(EngineUnavailable, match="started again"):
        await world.engine.load(archive(tmp_path))

    assert world.management.calls == []
    world.engine.watch.note_up()
    await world.engine.load(archive(tmp_path))


async def test_without_room_on_the_disk_nothing_is_left_and_it_is_worth_another_try(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, write = archive(tmp_path), Path.write_bytes

    def write_half(path: Path, content: bytes) -> Any:
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(EngineUnavailable, match="takes no archive: No space left on device"):
        await world.engine.load(loaded)
    monkeypatch.undo()

    assert world.stored == set()
    assert world.management.changes() == []
    await world.engine.load(loaded)


async def test_a_batch_above_torchserves_message_limit_is_refused_at_load(
    world: World, tmp_path: Path
) -> None:
    signature = TINY.model_copy(update={"max_batch_size": 65536})
    large = read_archive(make_archive(tmp_path, "tiny", "1", signature=signature), UNCHECKED)
    assert needed_message_bytes([TINY, signature]) > world.endpoint.max_message_bytes

    with pytest.raises(ArchiveInvalid, match="a batch of 65536 examples takes"):
        await world.engine.load(large)

    assert world.management.calls == []


@pytest.mark.parametrize("device", ["cpu", "cuda"])
async def test_the_device_is_what_torchserve_gave_its_worker(
    world: World, tmp_path: Path, device: str
) -> None:
    world.management.has_gpu = device == "cuda"

    await world.engine.load(archive(tmp_path))

    assert world.engine.device == device


# ---- going ----


async def test_unloading_takes_the_archive_away(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))

    await model.unload()

    assert world.registered == {}
    assert world.stored == set()


async def test_unloading_from_a_server_that_is_away_is_no_error(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    world.management.is_away = True

    await model.unload()

    assert world.stored == set()


async def test_a_version_is_unloaded_also_where_the_next_default_is_not_there(
    world: World, tmp_path: Path
) -> None:
    await world.engine.load(archive(tmp_path, "1"))
    model = await world.engine.load(archive(tmp_path, "2"))
    del world.management.models["tiny"]["1"]

    await model.unload()

    assert world.registered == {}


async def test_a_version_that_comes_back_while_it_goes_waits_for_its_turn(
    world: World, tmp_path: Path
) -> None:
    loaded = archive(tmp_path)
    model = await world.engine.load(loaded)
    world.management.gates["DELETE"] = gate = asyncio.Event()
    going = asyncio.create_task(model.unload())
    await world.management.arrived.acquire()
    coming = [asyncio.create_task(world.engine.load(loaded)) for _ in range(2)]
    await settle()
    gate.set()
    await going
    results = await asyncio.gather(*coming, return_exceptions=True)

    assert [type(result).__name__ for result in results] == ["TorchServeModel", "ArchiveInvalid"]
    assert world.registered == {"tiny": {"1"}}
    assert world.stored == {"tiny-1.mar"}


# ---- the default version ----


async def test_the_highest_version_answers_callers_who_name_none(world: World, tmp_path: Path) -> None:
    models = {version: await world.engine.load(archive(tmp_path, version)) for version in ("9", "10", "2")}
    assert world.management.defaults == {"tiny": "10"}

    await models["10"].unload()

    assert world.management.defaults == {"tiny": "9"}
    assert world.registered == {"tiny": {"9", "2"}}


async def test_a_wish_wins_over_the_highest_for_as_long_as_its_version_is_there(
    world: World, tmp_path: Path
) -> None:
    models = {version: await world.engine.load(archive(tmp_path, version)) for version in "12"}
    await world.engine.set_default("tiny", "1")
    assert world.management.defaults == {"tiny": "1"}
    await world.engine.load(archive(tmp_path, "3"))
    assert world.management.defaults == {"tiny": "1"}

    await models["1"].unload()

    assert world.management.defaults == {"tiny": "3"}
    assert world.registered == {"tiny": {"2", "3"}}


async def test_a_wish_that_cannot_be_told_is_no_error(world: World, tmp_path: Path) -> None:
    await world.engine.load(archive(tmp_path))
    world.management.is_away = True
    await world.engine.set_default("tiny", "1")
    world.management.is_away = False
    await world.engine.set_default("nobody", "1")

    assert world.management.defaults == {"tiny": "1"}


async def test_a_version_comes_also_where_the_default_one_is_missing(world: World, tmp_path: Path) -> None:
    await world.engine.load(archive(tmp_path, "1"))
    await world.engine.set_default("tiny", "1")
    world.management.empty()

    await world.engine.load(archive(tmp_path, "2"))

    assert world.registered == {"tiny": {"2"}}
