"""A played TorchServe that differs from what it should have is put right, and that is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest

from seqserve.engines.torchserve.watch import HEAL_SECONDS
from seqserve.errors import EngineUnavailable
from support.batching import settle
from support.torchserve import BATCH, ROWS
from support.torchserve_world import Watched, watched_world

ONE, TWO = ("tiny", "1"), ("tiny", "2")
DEAD = (grpc.StatusCode.RESOURCE_EXHAUSTED, "Worker died.\nInternalServerException")
REFUSED = httpx.Response(500, json={"code": 500, "message": "Failed to start workers"})


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    async with watched_world(tmp_path) as made:
        yield made


# ---- nothing differs ----


async def test_where_nothing_differs_nothing_is_touched_or_counted(watched: Watched) -> None:
    await watched.look(3)

    assert watched.world.management.changes() == []
    assert watched.drifts == []
    assert watched.world.presence.brought_back == []


async def test_a_version_that_is_just_being_loaded_is_no_drift(watched: Watched) -> None:
    watched.world.management.gates["POST"] = gate = asyncio.Event()
    loading = asyncio.create_task(watched.load("3"))
    await watched.world.management.arrived.acquire()
    await watched.look()
    watched.world.management.put("tiny", "3", workers=2, ready_workers=1)  # TorchServe shows it already
    await watched.look()
    del watched.world.management.models["tiny"]["3"]
    gate.set()
    await loading
    await watched.look()

    assert watched.drifts == []
    assert watched.world.registered == {"tiny": {"1", "2", "3"}}
    assert watched.world.management.defaults == {"tiny": "3"}


@pytest.mark.parametrize("is_gone_before_the_look", [True, False])
async def test_a_version_that_is_just_being_unloaded_is_no_drift(
    watched: Watched, *, is_gone_before_the_look: bool
) -> None:
    watched.world.management.gates["DELETE"] = gate = asyncio.Event()
    going = asyncio.create_task(watched.models["2"].unload())
    await watched.world.management.arrived.acquire()
    if is_gone_before_the_look:
        gate.set()
        await going
    await watched.look()
    gate.set()
    await going
    await watched.look()

    assert watched.drifts == []
    assert watched.world.registered == {"tiny": {"1"}}


async def test_a_version_that_goes_while_a_look_is_taken_is_no_drift(watched: Watched) -> None:
    watched.world.management.gates["GET"] = gate = asyncio.Event()
    looking = asyncio.create_task(watched.look())
    await watched.world.management.arrived.acquire()
    watched.world.management.models["tiny"].pop("2")  # as far as TorchServe shows it
    watched.world.management.defaults["tiny"] = "1"
    going = asyncio.create_task(watched.models["2"].unload())
    await settle()
    gate.set()
    await asyncio.gather(looking, going)

    assert watched.drifts == []
    assert watched.world.registered == {"tiny": {"1"}}


async def test_a_wish_for_another_default_is_no_drift(watched: Watched) -> None:
    watched.world.management.gates["PUT"] = gate = asyncio.Event()
    wishing = asyncio.create_task(watched.world.engine.set_default("tiny", "1"))
    await watched.world.management.arrived.acquire()
    await watched.look()
    gate.set()
    await wishing
    await watched.look()

    assert watched.drifts == []
    assert watched.world.management.defaults == {"tiny": "1"}


# ---- drift ----


async def test_a_version_that_is_missing_is_registered_again_and_served_again(watched: Watched) -> None:
    del watched.world.management.models["tiny"]["1"]
    await watched.look(2)

    assert watched.drifts == ["missing"]
    assert watched.world.management.models["tiny"]["1"].content == watched.archives["1"].content
    assert watched.world.management.models["tiny"]["1"].workers == 2
    assert watched.away == set()
    assert watched.world.presence.brought_back == [ONE]


async def test_batches_that_went_with_a_version_are_given_up(watched: Watched) -> None:
    watched.world.inference.gate.clear()
    calls = [asyncio.create_task(watched.models[version].infer(BATCH[:1])) for version in ("1", "2")]
    for _ in calls:
        await watched.world.inference.arrivals.acquire()
    del watched.world.management.models["tiny"]["1"]
    await watched.look()

    with pytest.raises(EngineUnavailable, match="given up"):
        await calls[0]
    watched.world.inference.gate.set()
    assert np.array_equal(await calls[1], ROWS[:1])


async def test_the_default_version_that_is_missing_becomes_the_default_again(watched: Watched) -> None:
    watched.world.management.defaults["tiny"] = "1"
    del watched.world.management.models["tiny"]["2"]
    await watched.look(3)

    assert watched.world.management.defaults == {"tiny": "2"}
    assert watched.drifts == ["missing"]


async def test_a_version_that_cannot_be_registered_is_tried_again_and_counted_once(watched: Watched) -> None:
    del watched.world.management.models["tiny"]["1"]
    watched.world.management.refusal = REFUSED
    for _ in range(3):
        await watched.look()
        watched.time.advance(HEAL_SECONDS)
        watched.world.management.models["tiny"].pop("1", None)
    assert watched.world.management.changes().count("POST /models") == 3
    assert watched.away == {ONE}

    watched.world.management.refusal = None
    await watched.look()

    assert watched.drifts == ["missing"]
    assert watched.away == set()


async def test_strangers_are_taken_away_also_the_default_one_and_whole_models(watched: Watched) -> None:
    management = watched.world.management
    management.put("tiny", "9")
    management.defaults["tiny"] = "9"
    for version in ("1", "2", "3"):
        management.put("stranger", version)
    await watched.look()

    assert watched.world.registered == {"tiny": {"1", "2"}}
    assert management.defaults == {"tiny": "2"}
    assert watched.drifts.count("unexpected") == 4
    drifts = list(watched.drifts)
    await watched.look()
    assert watched.drifts == drifts


async def test_another_default_is_put_right(watched: Watched) -> None:
    watched.world.management.defaults["tiny"] = "1"
    await watched.look(2)

    assert watched.world.management.defaults == {"tiny": "2"}
    assert watched.drifts == ["default"]
    assert watched.away == set()


@pytest.mark.parametrize("workers", [0, 1, 5])
async def test_another_number_of_workers_is_put_right(watched: Watched, workers: int) -> None:
    found = watched.world.management.models["tiny"]["1"]
    found.workers = found.ready_workers = workers
    await watched.look(2)

    assert (found.workers, found.ready_workers) == (2, 2)
    assert watched.drifts == ["workers"]
    assert watched.away == set()
    assert watched.world.presence.brought_back == ([] if workers else [ONE])


async def test_one_that_cannot_be_put_right_keeps_no_other_from_it(watched: Watched) -> None:
    del watched.world.management.models["tiny"]["1"]
    watched.world.management.models["tiny"]["2"].workers = 1
    watched.world.management.gates["POST"] = gate = asyncio.Event()
    looking = asyncio.create_task(watched.look())
    await watched.world.management.arrived.acquire()
    await settle(100)
    assert watched.world.management.models["tiny"]["2"].workers == 2
    watched.time.advance(HEAL_SECONDS)
    await looking

    watched.world.management.models["tiny"]["2"].ready_workers = 0
    looking = asyncio.create_task(watched.look())
    await settle(100)
    assert watched.away == {ONE, TWO}, "the next look is taken while the other version is still coming"
    gate.set()
    await looking
    assert watched.world.registered == {"tiny": {"1", "2"}}
