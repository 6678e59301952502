"""TorchServes that others run, played by gRPC servers: which of them answer, and what becomes of their models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest

from seqserve.engines.torchserve import external as external_module
from seqserve.engines.torchserve.addresses import parse_addresses
from seqserve.engines.torchserve.external import RESOLVE_SECONDS, ExternalEngine
from seqserve.engines.torchserve.model import TorchServeModel
from seqserve.engines.torchserve.predictions import Predictions
from seqserve.engines.torchserve.rounds import CALM_SECONDS, UNREST_SECONDS
from seqserve.engines.torchserve.tokens import NoTokens
from seqserve.errors import EngineUnavailable
from support.batching import settle
from support.running import until
from support.time import FakeTime
from support.torchserve import BATCH, ROWS, FakeInference, archive, serving
from support.torchserve_world import FakePresence

ONE = ("tiny", "1")
MISSING = (grpc.StatusCode.INTERNAL, "Model not found: tiny\nModelNotFoundException")


class Server(FakeInference):
    """One played TorchServe, which can end and come back where it was."""

    def __init__(self, token: Callable[[], str] = lambda: "") -> None:
        super().__init__(token=token)
        self.port = 0
        self._running = AsyncExitStack()

    async def start(self) -> None:
        self.port = await self._running.enter_async_context(serving(self, port=self.port))

    async def end(self) -> None:
        await self._running.aclose()


@dataclass
class World:
    """An engine over two servers, and time for its looks."""

    servers: tuple[Server, Server]
    engine: ExternalEngine
    presence: FakePresence
    time: FakeTime = field(default_factory=FakeTime)

    @property
    def answered(self) -> tuple[int, int]:
        return self.servers[0].answered, self.servers[1].answered

    async def asked(self, model: TorchServeModel, condition: Callable[[], object]) -> None:
        """Ask until the condition holds."""
        async with asyncio.timeout(10):
            while not condition():
                await failure_of(model.infer(BATCH))

    async def back(self) -> None:
        """Look until nobody is away."""
        async with asyncio.timeout(10):
            while self.presence.away:
                await self.engine.look()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    servers, presence, time = (Server(), Server()), FakePresence(), FakeTime()
    for server in servers:
        await server.start()
    addresses = parse_addresses(",".join(f"127.0.0.1:{server.port}" for server in servers))
    engine = ExternalEngine(
        Predictions(NoTokens()), addresses, presence, workers=1, device="cpu", time=time.time
    )
    yield World(servers, engine, presence, time)
    await engine.aclose()
    for server in servers:
        await server.end()


async def test_calls_go_round(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    await world.asked(model, lambda: min(world.answered))
    before = world.answered
    for _ in range(6):
        assert np.array_equal(await model.infer(BATCH), ROWS)

    assert np.subtract(world.answered, before).tolist() == [3, 3]


async def test_of_two_one_may_end_and_come_back(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    await world.asked(model, lambda: min(world.answered))
    await world.servers[0].end()
    failures = [error for error in [await failure_of(model.infer(BATCH)) for _ in range(20)] if error]

    assert len(failures) <= 1, "at most the one that was on its way to it"
    await world.engine.look()
    await world.back()
    assert [await failure_of(model.infer(BATCH)) for _ in range(20)] == [None] * 20
    before = world.servers[0].answered
    await world.servers[0].start()
    await world.asked(model, lambda: world.servers[0].answered > before)


async def test_when_both_have_ended_all_is_away_until_one_is_back(world: World, tmp_path: Path) -> None:
    await world.engine.load(archive(tmp_path))
    await world.engine.look()
    assert world.presence.away == set()
    for server in world.servers:
        await server.end()
    async with asyncio.timeout(10):
        while not world.presence.away:
            await world.engine.look()
    assert world.presence.away == {ONE}

    await world.servers[1].start()
    await world.back()

    assert world.presence.brought_back == [ONE]


async def test_a_model_that_they_do_not_have_is_away_until_they_have_it(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    for server in world.servers:
        server.fault = MISSING
    with pytest.raises(EngineUnavailable, match="Model not found"):
        await model.infer(BATCH)
    assert world.presence.away == {ONE}
    world.presence.wrong = {ONE}
    await world.engine.look()
    assert world.presence.away == {ONE}
    world.presence.wrong = set()
    await world.engine.look()

    assert world.presence.away == set()


async def test_a_model_that_is_unloaded_is_asked_for_no_more(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    world.servers[0].fault = world.servers[1].fault = MISSING
    assert await failure_of(model.infer(BATCH))
    await model.unload()
    world.presence.away.clear()
    assert await failure_of(model.infer(BATCH)), "a call that comes late"
    await world.engine.look()

    assert world.presence.away == set()
    assert world.presence.brought_back == []


async def test_one_that_hangs_keeps_no_other_from_coming_back(world: World, tmp_path: Path) -> None:
    models = [await world.engine.load(archive(tmp_path, version)) for version in "12"]
    world.servers[0].fault = world.servers[1].fault = MISSING
    for model in models:
        assert await failure_of(model.infer(BATCH))
    hanging = asyncio.Event()
    bring_back = world.presence.bring_back

    async def bring_back_but_one(name: str, version: str) -> bool:
        if version == "1":
            await hanging.wait()
        return await bring_back(name, version)

    world.presence.bring_back = bring_back_but_one  # type: ignore[method-assign]
    looking = asyncio.create_task(world.engine.look())
    await until(lambda: world.presence.away == {ONE})
    hanging.set()
    await looking

    assert world.presence.away == set()


async def failure_of(call: Awaitable[object]) -> EngineUnavailable | None:
    """Why it could not be answered, None where it was."""
    try:
        await call
    except EngineUnavailable as error:
        return error
    return None


# ---- by itself ----


async def test_it_looks_now_and_then_and_more_often_while_something_is_away(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, looks = await world.engine.load(archive(tmp_path)), 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise KeyError("a bug")

    monkeypatch.setattr(world.engine, "look", look)
    running = asyncio.create_task(world.engine.run())
    await settle()
    for seconds, expected in ((CALM_SECONDS, 1), (CALM_SECONDS, 2), (CALM_SECONDS, 3), (UNREST_SECONDS, 3)):
        await world.time.pass_by(seconds)
        assert looks == expected
    world.servers[0].fault = world.servers[1].fault = MISSING
    for _ in range(3):
        assert await failure_of(model.infer(BATCH))
    await settle()
    assert looks == 4, "at once, and not one for each batch"
    await world.time.pass_by(UNREST_SECONDS)
    assert looks == 5
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()


# ---- where they are ----


async def test_addresses_are_followed_and_a_name_service_that_is_away_does_no_harm(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = [f"ipv4:127.0.0.1:{server.port}" for server in world.servers]
    found: list[str | Exception] = [targets[0], EngineUnavailable("no names"), targets[1]]

    async def resolve(_: object) -> str:
        target = found[0]
        if isinstance(target, Exception):
            raise target
        return target

    monkeypatch.setattr(external_module, "resolve", resolve)
    model = await world.engine.load(archive(tmp_path))
    await model.infer(BATCH)
    found.pop(0)
    for _ in range(2):
        world.time.advance(RESOLVE_SECONDS + 1)
        await world.engine.look()
    await model.infer(BATCH)
    assert world.presence.away == set()
    assert world.answered == (2, 0)

    found.pop(0)
    await world.engine.look()
    await model.infer(BATCH)

    assert world.answered == (2, 1)


async def test_names_that_do_not_resolve_at_first_are_worth_another_try(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(_: object) -> str:
        raise EngineUnavailable("TorchServe's addresses do not resolve")

    with monkeypatch.context() as patch:
        patch.setattr(external_module, "resolve", resolve)
        with pytest.raises(EngineUnavailable, match="do not resolve"):
            await world.engine.load(archive(tmp_path))
        await world.engine.look()

    model = await world.engine.load(archive(tmp_path))
    assert np.array_equal(await model.infer(BATCH), ROWS)
