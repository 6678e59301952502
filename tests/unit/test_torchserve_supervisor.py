"""A TorchServe that ends is started again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from seqserve.engines.torchserve.rounds import CALM_SECONDS, UNREST_SECONDS, Rounds
from seqserve.engines.torchserve.supervisor import STEADY_SECONDS, Supervisor
from seqserve.errors import AddressInUse, DependencyMissing, StartFault
from support.batching import settle
from support.time import FakeTime

HOUR_SECONDS = 3600.0


@dataclass
class FakeServer:
    """Ends when it is told to; a start fails as often as there are faults."""

    faults: Iterator[Exception] = field(default_factory=lambda: iter(()))
    starts: int = 0
    end: asyncio.Event = field(default_factory=asyncio.Event)

    async def ended(self) -> int | None:
        await self.end.wait()
        return -9

    async def restart(self) -> None:
        self.starts += 1
        if fault := next(self.faults, None):
            raise fault
        self.end = asyncio.Event()


@dataclass
class World:
    """A supervised server, time, and what was told."""

    server: FakeServer = field(default_factory=FakeServer)
    time: FakeTime = field(default_factory=FakeTime)
    told: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def supervised(self) -> AsyncIterator[None]:
        supervisor = Supervisor(
            self.server,
            on_down=lambda: self.told.append("down"),
            on_up=lambda: self.told.append("up"),
            time=self.time.time,
        )
        task = asyncio.create_task(supervisor.run())
        await settle()
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled(), "nothing else ends it"

    async def die(self) -> None:
        self.server.end.set()
        await settle()


async def test_one_that_runs_is_left_alone() -> None:
    world = World()
    async with world.supervised():
        await world.time.pass_by(HOUR_SECONDS)

    assert (world.server.starts, world.told) == (0, [])


async def test_one_that_ends_is_started_at_once_and_both_are_told_once() -> None:
    world = World()
    async with world.supervised():
        await world.time.pass_by(HOUR_SECONDS)
        await world.die()
        assert world.told == ["down"]
        await world.time.pass_by(0.0)
        assert world.told == ["down", "up"]
        await world.time.pass_by(HOUR_SECONDS)

    assert world.server.starts == 1
    assert world.told == ["down", "up"]


async def test_one_that_goes_on_ending_waits_longer_each_time_but_not_for_ever() -> None:
    world = World()
    async with world.supervised():
        for _ in range(10):
            await world.die()
            await world.time.pass_by(60.0)

    assert world.time.slept == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert world.told == ["down", "up"] * 10


async def test_one_that_ran_for_long_is_started_without_delay_again() -> None:
    world = World()
    async with world.supervised():
        for _ in range(3):
            await world.die()
            await world.time.pass_by(30.0)
        await world.time.pass_by(STEADY_SECONDS + 1.0)
        await world.die()
        await world.time.pass_by(0.0)

        assert world.server.starts == 4
        await world.die()

    assert world.time.slept == [0.0, 0.5, 1.0, 0.0, 0.5]


@pytest.mark.parametrize(
    "fault",
    [StartFault("no"), AddressInUse("taken"), DependencyMissing("gone"), OSError(28, "disk full"), KeyError("a bug")],
)  # fmt: skip
async def test_starts_that_fail_are_tried_until_one_does_not(fault: Exception) -> None:
    world = World(FakeServer(iter([fault, fault, fault])))
    async with world.supervised():
        await world.die()
        for seconds in (0.0, 0.5, 1.0):
            await world.time.pass_by(seconds)
            assert world.told == ["down"], "it is not up, and it is down but once"
        await world.time.pass_by(2.0)

    assert world.server.starts == 4
    assert world.told == ["down", "up"]


# ---- rounds ----


@pytest.mark.parametrize(("is_calm", "seconds"), [(True, CALM_SECONDS), (False, UNREST_SECONDS)])
async def test_looks_follow_each_other_at_a_measured_pace(*, is_calm: bool, seconds: float) -> None:
    time = FakeTime()
    waiting = asyncio.create_task(Rounds(time.time).next(is_calm=is_calm))
    await settle()
    await time.pass_by(seconds - 0.001)
    assert not waiting.done()
    await time.pass_by(0.001)
    assert waiting.done()


async def test_a_call_brings_the_next_look_at_once_and_one_only() -> None:
    time = FakeTime()
    rounds = Rounds(time.time)
    rounds.call()
    rounds.call()
    await rounds.next(is_calm=True)

    waiting = asyncio.create_task(rounds.next(is_calm=True))
    await settle()
    assert not waiting.done()
    rounds.call()
    await settle()
    assert waiting.done()
    assert time.pending() == []
