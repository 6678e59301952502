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
from structlog.testing import CapturingLogger

from seqserve.engines.torchserve import checked_server as checked_module
from seqserve.engines.torchserve import external as external_module
from seqserve.engines.torchserve.addresses import parse_addresses
from seqserve.engines.torchserve.checked_server import LONGEST_PAUSE_SECONDS, RECHECK_SECONDS
from seqserve.engines.torchserve.external import RESOLVE_SECONDS, ExternalEngine
from seqserve.engines.torchserve.model import TorchServeModel
from seqserve.engines.torchserve.predictions import Predictions
from seqserve.engines.torchserve.rounds import CALM_SECONDS, UNREST_SECONDS
from seqserve.engines.torchserve.tokens import NoTokens
from seqserve.errors import EngineUnavailable
from seqserve.golden import Golden
from support.batching import settle
from support.running import until
from support.time import FakeTime
from support.torchserve import BATCH, OUTPUTS, ROWS, FakeInference, Fault, archive, serving
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

    async def spread(self, model: TorchServeModel) -> None:
        """Ask until both have answered; a channel knows one of them first."""
        before = self.answered
        await self.asked(model, lambda: min(np.subtract(self.answered, before)))

    async def chosen(self, model: TorchServeModel) -> list[int]:
        """Which servers answer a few batches, each of them rightly."""
        before = self.answered
        for _ in range(8):
            assert np.array_equal(await model.infer(BATCH), ROWS)
        return [at for at in (0, 1) if self.answered[at] > before[at]]

    def set_fault(self, fault: Fault | None) -> None:
        """Of both."""
        for server in self.servers:
            server.fault = fault

    async def look_later(self, seconds: float = LONGEST_PAUSE_SECONDS) -> None:
        """Look after a while."""
        self.time.advance(seconds)
        await self.engine.look()

    async def back(self) -> None:
        """Look until nobody is away."""
        async with asyncio.timeout(10):
            while self.presence.away:
                await self.engine.look()


def engine_over(
    servers: tuple[Server, Server], presence: FakePresence, time: FakeTime, check_seconds: float = 5.0
) -> ExternalEngine:
    return ExternalEngine(
        Predictions(NoTokens()),
        parse_addresses(",".join(f"127.0.0.1:{server.port}" for server in servers)),
        presence,
        workers=1,
        device="cpu",
        check_seconds=check_seconds,
        golden_of=Golden.of,
        time=time.time,
    )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    servers, presence, time = (Server(), Server()), FakePresence(), FakeTime()
    for server in servers:
        await server.start()
    engine = engine_over(servers, presence, time)
    yield World(servers, engine, presence, time)
    await engine.aclose()
    for server in servers:
        await server.end()


async def test_calls_go_round(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    await world.spread(model)
    before = world.answered
    for _ in range(6):
        assert np.array_equal(await model.infer(BATCH), ROWS)

    assert np.subtract(world.answered, before).tolist() == [3, 3]


async def test_of_two_one_may_end_and_come_back(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    await world.spread(model)
    await world.servers[0].end()
    failures = [error for error in [await failure_of(model.infer(BATCH)) for _ in range(20)] if error]

    assert len(failures) <= 1, "at most the one that was on its way to it"
    await world.engine.look()
    await world.back()
    assert [await failure_of(model.infer(BATCH)) for _ in range(20)] == [None] * 20
    before = world.servers[0].answered
    await world.servers[0].start()
    async with asyncio.timeout(10):
        while world.servers[0].answered == before:
            await world.engine.look()
    await world.spread(model)


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


async def test_a_model_that_they_have_lost_is_away_until_they_have_it(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    world.set_fault(MISSING)
    assert await failure_of(model.infer(BATCH))
    await world.engine.look()
    assert world.presence.away == {ONE}
    await world.look_later()
    assert world.presence.away == {ONE}
    world.set_fault(None)
    world.presence.wrong = {ONE}
    await world.look_later()
    assert world.presence.away == {ONE}
    world.presence.wrong = set()
    await world.engine.look()

    assert world.presence.away == set()
    assert np.array_equal(await model.infer(BATCH), ROWS)


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
    world.set_fault(MISSING)
    for model in models:
        assert await failure_of(model.infer(BATCH))
    await world.engine.look()
    assert world.presence.away == {ONE, ("tiny", "2")}
    world.set_fault(None)
    world.time.advance(LONGEST_PAUSE_SECONDS)
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


# ---- one of them has another model ----


def wrong_reply(rows: int) -> bytes:
    """As of another model: well-formed, and not what the archive says."""
    return b"\x00" + np.full((rows, OUTPUTS), 0.75, "<f4").tobytes()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    """What is said of single servers."""
    log = CapturingLogger()
    monkeypatch.setattr(checked_module, "log", log)
    return log


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("how", ["answers others", "lacks it"])
async def test_one_that_is_wrong_at_load_is_left_out_until_it_is_put_right(
    world: World, tmp_path: Path, said: CapturingLogger, at: int, how: str
) -> None:
    made, wrong = archive(tmp_path), world.servers[at]
    if how == "lacks it":
        wrong.fault = MISSING
    else:
        wrong.reply = wrong_reply(len(made.golden_inputs))
    model = await world.engine.load(made)

    assert await world.chosen(model) == [1 - at]
    for _ in range(3):
        await world.look_later()
    [call] = said.calls
    assert call.args == ("torchserve is left out",)
    assert call.kwargs["address"] == f"ipv4:127.0.0.1:{wrong.port}"
    assert (call.kwargs["model"], call.kwargs["version"]) == ONE
    words = "Model not found: tiny" if how == "lacks it" else "golden check: answers differ"
    assert call.kwargs["reason"].startswith(words)

    wrong.fault = wrong.reply = None
    await world.look_later()

    await world.spread(model)
    assert await world.chosen(model) == [0, 1]
    assert said.calls[-1].args == ("torchserve is asked again",)
    assert world.presence.away == set()


async def test_one_that_becomes_wrong_later_is_left_out_at_the_next_check(
    world: World, tmp_path: Path
) -> None:
    made = archive(tmp_path)
    model = await world.engine.load(made)
    world.servers[0].reply = wrong_reply(len(made.golden_inputs))
    await world.look_later(RECHECK_SECONDS)

    assert await world.chosen(model) == [1]
    assert world.presence.away == set()


async def test_one_that_loses_it_is_left_out_once_a_batch_has_failed(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    await world.spread(model)
    world.servers[0].fault = MISSING
    failures = [error for error in [await failure_of(model.infer(BATCH)) for _ in range(4)] if error]
    assert failures
    assert world.presence.away == set(), "the other one serves it"
    await world.engine.look()

    assert await world.chosen(model) == [1]
    assert world.presence.away == set()


async def test_one_that_comes_back_with_another_model_is_left_out(world: World, tmp_path: Path) -> None:
    made = archive(tmp_path)
    model = await world.engine.load(made)
    await world.servers[0].end()
    async with asyncio.timeout(10):
        while await failure_of(model.infer(BATCH)):
            await world.engine.look()
    await world.engine.look()
    world.servers[0].reply = wrong_reply(len(made.golden_inputs))
    asked = len(world.servers[0].requests)
    await world.servers[0].start()
    async with asyncio.timeout(10):
        while len(world.servers[0].requests) == asked:
            await world.engine.look()

    assert await world.chosen(model) == [1]


async def test_while_its_load_is_tried_again_the_log_says_it_once(
    world: World, tmp_path: Path, said: CapturingLogger
) -> None:
    world.set_fault(MISSING)
    for _ in range(3):
        with pytest.raises(EngineUnavailable):
            await world.engine.load(archive(tmp_path))

    assert len(said.calls) == 2, "for each server"


async def test_where_all_are_wrong_it_is_not_loaded_and_words_say_why(world: World, tmp_path: Path) -> None:
    made = archive(tmp_path)
    world.servers[0].fault = MISSING
    world.servers[1].reply = wrong_reply(len(made.golden_inputs))
    with pytest.raises(EngineUnavailable) as caught:
        await world.engine.load(made)
    for server, words in zip(world.servers, ("Model not found: tiny", "answers differ"), strict=True):
        assert f"127.0.0.1:{server.port}: " in str(caught.value)
        assert words in str(caught.value)
    assert world.presence.away == set(), "nobody serves it yet"

    world.servers[0].fault = None
    assert await world.chosen(await world.engine.load(made)) == [0]


async def test_where_all_become_wrong_it_is_away_until_one_is_put_right(world: World, tmp_path: Path) -> None:
    made = archive(tmp_path)
    model = await world.engine.load(made)
    for server in world.servers:
        server.reply = wrong_reply(len(made.golden_inputs))
    await world.look_later(RECHECK_SECONDS)
    assert world.presence.away == {ONE}

    world.servers[1].reply = None
    await world.look_later()

    assert world.presence.away == set()
    assert await world.chosen(model) == [1]


async def test_one_that_stays_wrong_is_asked_ever_less(world: World, tmp_path: Path) -> None:
    world.servers[0].fault = MISSING
    await world.engine.load(archive(tmp_path))
    asked_at = []
    for tick in range(200):
        before = len(world.servers[0].requests)
        await world.look_later(0.5)
        if len(world.servers[0].requests) > before:
            asked_at.append(tick)

    pauses = np.diff([-1, *asked_at]) * 0.5
    assert pauses.tolist() == [0.5, 1, 2, 4, 8, 16, 30, 30]


async def test_one_that_hangs_is_left_out(world: World, tmp_path: Path) -> None:
    world.servers[0].gate.clear()
    engine = engine_over(world.servers, world.presence, world.time, check_seconds=0.1)
    model = await engine.load(archive(tmp_path))

    assert await world.chosen(model) == [1]
    await engine.aclose()


async def test_one_that_is_only_busy_is_kept(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    world.set_fault(
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Model tiny has no worker to serve inference request")
    )
    await world.look_later(RECHECK_SECONDS)
    world.set_fault(None)

    await world.spread(model)
    assert world.presence.away == set()


async def test_an_address_that_is_new_is_checked_before_it_is_asked(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = archive(tmp_path)
    found = [f"ipv4:127.0.0.1:{world.servers[0].port}"]

    async def resolve(_: object) -> list[str]:
        return list(found)

    monkeypatch.setattr(external_module, "resolve", resolve)
    model = await world.engine.load(made)
    world.servers[1].reply = wrong_reply(len(made.golden_inputs))
    found.append(f"ipv4:127.0.0.1:{world.servers[1].port}")
    await world.look_later(RESOLVE_SECONDS + 1)
    assert await world.chosen(model) == [0]

    world.servers[1].reply = None
    await world.look_later()
    await world.spread(model)


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
    one, two = ([f"ipv4:127.0.0.1:{server.port}"] for server in world.servers)
    found: list[list[str] | Exception] = [one, EngineUnavailable("no names"), two]

    async def resolve(_: object) -> list[str]:
        targets = found[0]
        if isinstance(targets, Exception):
            raise targets
        return targets

    monkeypatch.setattr(external_module, "resolve", resolve)
    model = await world.engine.load(archive(tmp_path))
    await model.infer(BATCH)
    found.pop(0)
    for _ in range(2):
        world.time.advance(RESOLVE_SECONDS + 1)
        await world.engine.look()
    before = world.answered
    await model.infer(BATCH)
    assert world.presence.away == set()
    assert np.subtract(world.answered, before).tolist() == [1, 0]

    found.pop(0)
    await world.engine.look()
    before = world.answered
    await model.infer(BATCH)

    assert np.subtract(world.answered, before).tolist() == [0, 1]
    assert world.presence.away == set()


async def test_names_that_do_not_resolve_at_first_are_worth_another_try(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(_: object) -> list[str]:
        raise EngineUnavailable("TorchServe's addresses do not resolve")

    with monkeypatch.context() as patch:
        patch.setattr(external_module, "resolve", resolve)
        with pytest.raises(EngineUnavailable, match="do not resolve"):
            await world.engine.load(archive(tmp_path))
        await world.engine.look()

    model = await world.engine.load(archive(tmp_path))
    assert np.array_equal(await model.infer(BATCH), ROWS)
