"""The watch over a played TorchServe: who is away is told, and who is back; one that hangs is ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest

from seqserve.engines.torchserve.predictions import Predictions
from seqserve.engines.torchserve.rounds import CALM_SECONDS, UNREST_SECONDS
from seqserve.engines.torchserve.watch import BUSY_SECONDS, HUNG_SECONDS, LOST_SECONDS
from seqserve.errors import EngineUnavailable
from support.batching import settle
from support.torchserve import BATCH
from support.torchserve_world import Watched, watched_world

ONE, TWO = ("tiny", "1"), ("tiny", "2")
DEAD = (grpc.StatusCode.RESOURCE_EXHAUSTED, "Worker died.\nInternalServerException")
REFUSED = httpx.Response(500, json={"code": 500, "message": "Failed to start workers"})


@dataclass
class Pings:
    """Whether the server answers over gRPC: unless there is a fault."""

    fault: EngineUnavailable | None = None
    asked: int = 0

    async def ping(self, _: float) -> None:
        self.asked += 1
        if self.fault is not None:
            raise self.fault


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    async with watched_world(tmp_path) as made:
        yield made


# ---- away and back ----


async def test_a_version_without_a_worker_is_away_and_comes_back_with_one(watched: Watched) -> None:
    found = watched.world.management.models["tiny"]["1"]
    found.ready_workers = 0
    await watched.look(2)
    assert watched.away == {ONE}
    found.ready_workers = 1
    await watched.look()

    assert watched.away == set()
    assert watched.world.presence.brought_back == [ONE]
    assert watched.drifts == []
    assert watched.world.management.changes() == []


async def test_one_that_answers_otherwise_than_it_should_is_asked_until_it_does_not(watched: Watched) -> None:
    found = watched.world.management.models["tiny"]["1"]
    found.ready_workers = 0
    await watched.look()
    found.ready_workers, watched.world.presence.wrong = 2, {ONE}
    await watched.look(2)
    assert watched.away == {ONE}
    watched.world.presence.wrong = set()
    await watched.look()

    assert watched.away == set()


async def test_a_version_that_does_not_come_back_gets_new_workers_now_and_then(watched: Watched) -> None:
    found = watched.world.management.models["tiny"]["2"]  # the default one, which cannot be unregistered
    found.ready_workers = 0
    await watched.look()
    watched.time.advance(LOST_SECONDS - 0.1)
    await watched.look()
    assert watched.world.management.changes() == []
    watched.time.advance(0.2)
    await watched.look()

    assert found.ready_workers == 2
    assert watched.away == set()
    assert watched.drifts == []
    changes = list(watched.world.management.changes())
    watched.time.advance(LOST_SECONDS + 1)
    await watched.look()
    assert watched.world.management.changes() == changes


async def test_one_that_answers_wrongly_for_long_gets_new_workers_and_not_at_each_look(
    watched: Watched,
) -> None:
    watched.world.presence.wrong = {ONE}
    watched.world.engine.watch.note_away(watched.archives["1"].signature)
    watched.time.advance(LOST_SECONDS + 1)
    await watched.look(4)

    assert watched.world.management.changes() == ["PUT /models/tiny/1"] * 2  # to none, and back


async def test_what_became_of_a_version_does_not_follow_the_next_one_of_its_number(watched: Watched) -> None:
    watched.world.engine.watch.note_away(watched.archives["1"].signature)
    await watched.models["1"].unload()
    watched.time.advance(LOST_SECONDS + 1)
    await watched.load("1")
    watched.world.presence.away.clear()
    watched.world.management.calls.clear()
    await watched.look()

    assert watched.world.management.changes() == []
    assert watched.away == set()


# ---- the watch by itself ----


async def test_it_looks_now_and_then_and_more_often_while_something_is_away(watched: Watched) -> None:
    async with watched.watching():
        await watched.pass_by(CALM_SECONDS, times=3)
        assert watched.looks == 3
        watched.world.management.models["tiny"]["1"].ready_workers = 0
        await watched.pass_by(CALM_SECONDS)
        await watched.pass_by(UNREST_SECONDS, times=6)
        assert watched.looks == 10, "and not without a pause"
        watched.world.management.models["tiny"]["1"].ready_workers = 2
        await watched.pass_by(UNREST_SECONDS)
        assert watched.away == set()
        await watched.pass_by(UNREST_SECONDS)
        assert watched.looks == 11


async def test_a_batch_that_fails_brings_a_look_at_once_but_not_one_for_each(watched: Watched) -> None:
    watched.world.inference.fault = DEAD
    watched.world.presence.wrong = {ONE}
    async with watched.watching():
        for _ in range(3):
            with pytest.raises(EngineUnavailable):
                await watched.models["1"].infer(BATCH)
        await settle(200)

        assert watched.away == {ONE}
        assert watched.looks == 1


async def test_a_bug_does_not_end_it(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    async def broken() -> None:
        nonlocal calls
        calls += 1
        raise KeyError("a bug")

    monkeypatch.setattr(watched.world.engine.management, "models", broken)
    async with watched.watching():
        await watched.pass_by(CALM_SECONDS, times=3)

    assert calls == 3
    assert watched.away == set()


# ---- a server that ends, or hangs ----


async def test_a_server_that_ended_has_everything_again_after_it_is_up_and_that_is_no_drift(
    watched: Watched,
) -> None:
    await watched.world.engine.set_default("tiny", "1")
    watched.world.engine.watch.note_down()
    assert watched.away == {ONE, TWO}
    watched.world.management.empty()
    watched.world.keys.renew("inference", "management")
    watched.world.keys.write()
    watched.world.engine.watch.note_up()
    await watched.look(2)

    assert watched.world.registered == {"tiny": {"1", "2"}}
    assert watched.world.management.defaults == {"tiny": "1"}
    assert watched.away == set()
    assert sorted(watched.world.presence.brought_back) == [ONE, TWO]
    assert (watched.drifts, watched.world.observer.restarts) == ([], 1)
    del watched.world.management.models["tiny"]["2"]
    await watched.look()
    assert watched.drifts == ["missing"], "later it counts again"


async def test_a_server_that_is_down_is_not_looked_at(watched: Watched) -> None:
    async with watched.watching():
        watched.world.engine.watch.note_down()
        await watched.pass_by(UNREST_SECONDS, times=3)
        assert watched.looks == 0
        watched.world.engine.watch.note_up()
        await settle(200)
        assert watched.looks >= 1
        assert watched.away == set()


@pytest.mark.parametrize("kind", ["is_silent", "is_away"])
async def test_a_server_that_does_not_answer_is_away_and_then_ended(watched: Watched, kind: str) -> None:
    setattr(watched.world.management, kind, True)
    async with watched.watching():
        await watched.pass_by(CALM_SECONDS)
        await watched.pass_by(UNREST_SECONDS, times=int(HUNG_SECONDS / 2 / UNREST_SECONDS))
        assert watched.away == set()
        await watched.pass_by(UNREST_SECONDS)
        assert watched.away == {ONE, TWO}
        assert watched.hung == 0
        await watched.pass_by(UNREST_SECONDS, times=int(HUNG_SECONDS / 2 / UNREST_SECONDS) + 1)
        assert watched.hung == 1
        await watched.pass_by(UNREST_SECONDS)
        assert watched.hung == 1, "it is given time to end"


async def test_a_server_that_answers_again_in_time_is_left_alone(watched: Watched) -> None:
    async with watched.watching():
        for _ in range(3):
            watched.world.management.is_silent = True
            await watched.pass_by(CALM_SECONDS)
            await watched.pass_by(UNREST_SECONDS, times=20)
            watched.world.management.is_silent = False
            await watched.pass_by(UNREST_SECONDS)
            assert watched.away == set()

    assert watched.hung == 0
    assert watched.drifts == []


@pytest.fixture
def pings(monkeypatch: pytest.MonkeyPatch) -> Pings:
    """To be asked for before `watched`: its server answers gRPC as this says."""
    made = Pings()
    monkeypatch.setattr(Predictions, "ping", made.ping)
    return made


@asynccontextmanager
async def busy(watched: Watched) -> AsyncIterator[asyncio.Event]:
    """A registration is under way until the event is set, and HTTP is silent meanwhile."""
    watched.world.management.gates["POST"] = gate = asyncio.Event()
    loading = asyncio.create_task(watched.load("3"))
    await watched.world.management.arrived.acquire()
    watched.world.management.is_silent = True
    yield gate
    watched.world.management.is_silent = False
    gate.set()
    await loading


async def test_a_server_that_is_busy_with_a_registration_and_answers_grpc_is_not_taken_for_hung(
    pings: Pings, watched: Watched
) -> None:
    async with watched.watching():
        async with busy(watched):
            await watched.pass_by(CALM_SECONDS, times=int(0.9 * BUSY_SECONDS / CALM_SECONDS))
            assert (watched.hung, watched.away) == (0, set())
        await watched.pass_by(CALM_SECONDS)

    assert pings.asked > 1
    assert watched.drifts == []


async def test_a_server_that_answers_no_grpc_either_hangs_although_it_is_busy(
    pings: Pings, watched: Watched
) -> None:
    pings.fault = EngineUnavailable("silent")
    async with watched.watching(), busy(watched):
        await watched.pass_by(CALM_SECONDS)
        await watched.pass_by(UNREST_SECONDS, times=int(HUNG_SECONDS / 2 / UNREST_SECONDS) + 1)
        assert {ONE, TWO} <= watched.away
        assert watched.hung == 0
        await watched.pass_by(UNREST_SECONDS, times=int(HUNG_SECONDS / 2 / UNREST_SECONDS) + 1)
        assert watched.hung == 1


async def test_no_server_is_busy_for_ever(pings: Pings, watched: Watched) -> None:
    async with watched.watching(), busy(watched):
        await watched.pass_by(CALM_SECONDS, times=int(BUSY_SECONDS / CALM_SECONDS))
        assert watched.hung == 0
        await watched.pass_by(CALM_SECONDS, times=int(2 * HUNG_SECONDS / CALM_SECONDS))
        assert watched.hung == 1

    assert pings.asked > 1
