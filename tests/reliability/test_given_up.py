"""Calls that are taken back or come too late, tens of thousands of them: what each leaves in the gateway's memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from seqserve.client import AsyncClient
from soak.callers import World, fickle, hurried, unary
from soak.footprint import footprint
from soak.tally import Tally
from support.checked import Figures
from support.served import Served, serving

CALLERS = 12
"""Of each kind."""
WARM_UP = 10_000
MOST_BYTES = 80
"""A call: as much as gRPC's record of one operation, of which there are one to three. Heaps also grow by themselves."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, models: Path, front: str) -> Iterator[Served]:
    """As it comes."""
    with serving(tmp_path_factory.mktemp("given-up"), models, f"--front={front}") as running:
        yield running


def given_up(world: World) -> int:
    outcomes = world.tally.outcomes.items()
    return sum(count for (_, code), count in outcomes if code in {"CANCELLED", "DEADLINE_EXCEEDED"})


async def give_up(world: World, calls: int) -> None:
    """Call until so many more are given up."""
    enough = given_up(world) + calls

    async def again_and_again(index: int) -> None:
        while given_up(world) < enough:
            await (fickle if index % 2 else hurried)(world)
            await unary(world)  # or thousands of calls would wait for the gateway, and gRPC refuse them

    await asyncio.gather(*(again_and_again(index) for index in range(2 * CALLERS)))


@pytest.mark.long
@pytest.mark.parametrize("calls", [40_000])
async def test_a_call_that_is_given_up_leaves_nothing(
    gateway: Served, calls: int, record_property: Figures
) -> None:
    async with (
        grpc.aio.insecure_channel(gateway.grpc) as channel,
        AsyncClient(gateway.grpc) as client,
        httpx.AsyncClient(base_url=gateway.http) as web,
    ):
        world = World(gateway.grpc, channel, client, web, Tally())
        await give_up(world, WARM_UP)
        before = footprint(gateway.process.pid, 0.0).memory_bytes
        await give_up(world, calls)
        grown = footprint(gateway.process.pid, 0.0).memory_bytes - before
    record_property("bytes_a_call", round(grown / calls))
    assert not world.tally.wrong
    assert not world.tally.unexpected, world.tally.examples
    assert grown / calls < MOST_BYTES
