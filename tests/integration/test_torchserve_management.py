"""TorchServe's management API as it is spoken to: tokens, their renewal, and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from seqserve.errors import ArchiveInvalid, EngineUnavailable
from support.batching import settle
from support.torchserve import BATCH, archive
from support.torchserve_world import Watched, World, running_world, watched_world

BOTH = {"tiny": {"1", "2"}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path) as running:
        yield running


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    async with watched_world(tmp_path) as made:
        yield made


async def test_a_renewed_management_token_is_read_from_the_file(world: World, tmp_path: Path) -> None:
    await world.engine.load(archive(tmp_path, "1"))
    world.keys.renew("management")
    world.keys.write()

    await world.engine.load(archive(tmp_path, "2"))

    assert world.registered == BOTH


async def test_a_token_that_stays_wrong_is_an_outage_and_no_fault_of_the_archive(
    world: World, tmp_path: Path
) -> None:
    world.keys.renew("management")

    with pytest.raises(EngineUnavailable, match="refused the token"):
        await world.engine.load(archive(tmp_path))


async def test_a_model_named_after_a_token_is_refused_for_what_it_is(world: World, tmp_path: Path) -> None:
    world.management.refusal = httpx.Response(400, json={"code": 400, "message": "token-model is no archive"})

    with pytest.raises(ArchiveInvalid, match="token-model is no archive"):
        await world.engine.load(archive(tmp_path, name="token-model"))

    assert world.management.changes().count("POST /models") == 1


async def test_a_token_is_renewed_with_the_api_key(world: World) -> None:
    for kind in ("inference", "management"):
        await world.engine.management.renew("inference" if kind == "inference" else "management")

    assert world.keys.numbers == {"inference": 2, "management": 2}
    assert world.endpoint.tokens.inference() == "inference-2"
    assert world.endpoint.tokens.management() == "management-2"
    assert await world.engine.management.models() == {}


async def test_metrics_are_handed_on_as_they_are_or_not_at_all(world: World) -> None:
    assert await world.engine.management.metrics() == b"ts_up 1\n"
    world.management.is_silent = True
    with pytest.raises(EngineUnavailable, match="metrics API"):
        await world.engine.management.metrics()


@pytest.mark.parametrize(("seconds", "renewed"), [(3600.0, 0), (725.0, 0), (715.0, 1), (-5.0, 1)])
async def test_tokens_are_renewed_when_a_fifth_of_their_life_is_left(
    watched: Watched, seconds: float, renewed: int
) -> None:
    keys = watched.world.keys
    keys.let_expire(seconds)
    watched.world.endpoint.tokens.forget()
    await watched.world.engine.renewal.look()

    assert keys.numbers == {"inference": 1 + renewed, "management": 1 + renewed}
    await watched.world.engine.renewal.look()
    assert keys.numbers == {"inference": 1 + renewed, "management": 1 + renewed}
    await watched.models["1"].infer(BATCH)
    await watched.look()
    assert watched.away == set()


async def test_renewal_looks_each_minute_and_waits_longer_after_each_failure(watched: Watched) -> None:
    keys, slept = watched.world.keys, watched.time.slept
    running = asyncio.create_task(watched.world.engine.renewal.run())
    await settle()
    keys.let_expire(700.0)
    watched.world.endpoint.tokens.forget()
    watched.world.management.is_away = True
    await watched.pass_by(60.0)
    for seconds in (5.0, 10.0, 20.0, 40.0, 60.0):
        await watched.pass_by(seconds)
    assert keys.numbers == {"inference": 1, "management": 1}
    watched.world.management.is_away = False
    await watched.pass_by(60.0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert keys.numbers == {"inference": 2, "management": 2}
    assert slept == [60.0, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]
    assert running.cancelled()


async def test_a_short_life_is_looked_at_in_time(watched: Watched) -> None:
    watched.world.keys.let_expire(730.0)
    watched.world.endpoint.tokens.forget()

    assert 5.0 < await watched.world.engine.renewal.look() <= 10.0


@asynccontextmanager
async def renewing(watched: Watched) -> AsyncIterator[list[str]]:
    """Renewal runs by itself, and finds tokens that are due; what it says meanwhile."""
    watched.world.keys.let_expire(100.0)
    watched.world.endpoint.tokens.forget()
    said: list[str] = []
    with capture_logs() as logs:
        running = asyncio.create_task(watched.world.engine.renewal.run())
        await settle(200)
        yield said
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    said += [entry["event"] for entry in logs if entry["event"].startswith("torchserve token")]


async def test_a_renewal_that_comes_to_nothing_is_said_once_and_not_tried_often(watched: Watched) -> None:
    keys = watched.world.keys
    watched.world.management.writes_keys = False  # the new token counts, and nobody learns of it
    async with renewing(watched) as said:
        await watched.pass_by(5.0)
        assert keys.numbers["inference"] == 3, "each of them made the users' worthless"
        keys.write()  # the file can be written again: what it tells is taken
        watched.world.management.writes_keys = True
        await watched.pass_by(10.0)

    assert keys.numbers["inference"] == 3
    assert keys.numbers["management"] == 2
    assert said == [
        "torchserve token not renewed",
        "torchserve token renewed",
        "torchserve tokens are renewed again",
    ]


async def test_a_server_that_is_down_is_asked_for_no_token_and_soon_after_it_is_up(watched: Watched) -> None:
    watched.world.management.is_away = True
    watched.world.engine.watch.note_down()
    async with renewing(watched) as said:
        for _ in range(10):
            await watched.pass_by(5.0)
        watched.world.management.is_away = False
        watched.world.engine.watch.note_up()
        await watched.pass_by(5.0)

    assert watched.world.keys.numbers == {"inference": 2, "management": 2}
    assert said == ["torchserve token renewed"] * 2
