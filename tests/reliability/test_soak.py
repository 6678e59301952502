"""Minutes of what `make soak` does for hours, and the control: a gateway that leaks, which it must find."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import httpx
import pytest

from seqserve.client import AsyncClient
from soak.callers import Round, World, fickle, hurried, unary
from soak.run import Options, soak
from soak.tally import Tally
from support.checked import Figures
from support.footprint import footprint
from support.own_torchserve import needs_torchserve
from support.served import serving

HASTY_CALLERS = 12
"""Of each kind."""
WARM_UP = 10_000
MOST_BYTES = 60
"""Of a call that is given up: less than gRPC's record of one operation, of which it has one to three."""


def nobody_listens(_words: str) -> None:
    """To how it goes."""


async def test_callers_of_every_kind_get_right_answers_while_versions_come_and_go(front: str) -> None:
    report = await soak(Options(0.2, front, reload_seconds=3), nobody_listens)

    assert not report.tally.wrong
    assert not report.tally.unexpected, report.tally.examples
    assert not report.status
    assert not any(report.left.values()), report.left
    assert len(report.tally.versions) > 1


@pytest.mark.long
async def test_nothing_grows(front: str) -> None:
    report = await soak(Options(6, front, reload_seconds=10), nobody_listens)

    assert not report.faults, "\n".join(report.lines())


@pytest.mark.long
async def test_a_gateway_that_leaks_is_found_out(front: str) -> None:
    report = await soak(Options(3, front, reload_seconds=10, is_leaking=True), nobody_listens)

    assert report.faults == ["memory_bytes grows", "descriptors grows", "threads grows", "tasks grows"]


@pytest.mark.long
@needs_torchserve
async def test_the_same_behind_torchserve(front: str) -> None:
    report = await soak(Options(3, front, engine="torchserve", reload_seconds=30), nobody_listens)

    assert not report.faults, "\n".join(report.lines())


def given_up(tally: Tally) -> int:
    return sum(
        count for (_, code), count in tally.outcomes.items() if code in {"CANCELLED", "DEADLINE_EXCEEDED"}
    )


async def give_up(world: World, calls: int) -> None:
    """Call until so many more are given up."""
    enough = given_up(world.tally) + calls

    async def again_and_again(hasty: Round) -> None:
        while given_up(world.tally) < enough:
            await hasty(world)
            await unary(world)  # or thousands of calls would wait for the gateway, and gRPC refuse them

    await asyncio.gather(*map(again_and_again, [fickle, hurried] * HASTY_CALLERS))


@pytest.mark.long
@pytest.mark.parametrize("calls", [40_000])
async def test_a_call_that_is_given_up_leaves_nothing(
    tmp_path: Path, models: Path, front: str, calls: int, record_property: Figures
) -> None:
    with serving(tmp_path, models, f"--front={front}") as gateway:
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
