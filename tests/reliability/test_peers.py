"""Peers that read nothing, do nothing or do wrong, beside neighbours whose every answer is checked."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from support.checked import Figures, ask_over_http, checked, web_of
from support.descriptors import back_to, open_files
from support.exposition import total
from support.footprint import footprint
from support.peers import idle, misbehave, reads_nothing, sends_and_reads_nothing
from support.served import Served, serving

NEIGHBOURS = 4
CALLS = 200
MOST_BYTES_OF_ALL, MOST_BYTES_OF_EACH = 40 << 20, 10 << 20
REQUESTS = 20_000
"""Of a peer that reads nothing: 60 MB, were they all kept."""
ALL_CONNECTED_SECONDS = 50
"""Before the gateway pings them, and finds that they do not answer."""
ITS_OWN = 8
"""Descriptors that may be one more or less at any time."""


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, models: Path, front: str, engine: str
) -> Iterator[Served]:
    """Takes thousands of connections."""
    limits = ("--max-grpc-connections=6000", "--max-http-connections=4000")
    chosen = (f"--front={front}", f"--engine={engine}")
    with serving(tmp_path_factory.mktemp("peers"), models, *chosen, *limits) as running:
        yield running


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


async def neighbours(gateway: Served) -> None:
    """Some callers, and one over HTTP, are answered right."""
    async with checked(gateway.grpc) as caller, web_of(gateway.http) as web:
        ended = asyncio.Event()
        calling = [asyncio.ensure_future(caller.call_until(ended)) for _ in range(NEIGHBOURS)]
        while caller.outcomes.total() < CALLS:
            await asyncio.sleep(0.01)
        ended.set()
        await asyncio.gather(*calling)
        assert await ask_over_http(web, [3, 4]) == 200
    assert caller.outcomes.keys() == {"OK"}, caller.errors[:3]
    assert not caller.wrong


def memory_bytes(gateway: Served) -> int:
    return footprint(gateway.process.pid, 0.0).memory_bytes


async def nothing_in_flight(gateway: Served) -> None:
    while await total(gateway.http, "seqserve_requests_in_flight"):
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("peers", [2, pytest.param(16, marks=pytest.mark.long)])
async def test_peers_that_read_no_reply_take_little_and_nobody_else_notices(
    gateway: Served, peers: int, record_property: Figures
) -> None:
    await neighbours(gateway)
    files, before = open_files(gateway.process.pid), memory_bytes(gateway)
    async with AsyncExitStack() as held:
        for _ in range(peers):
            await held.enter_async_context(reads_nothing(port_of(gateway.grpc), REQUESTS))
            await held.enter_async_context(sends_and_reads_nothing(port_of(gateway.http), 1000))
        for _ in range(3):
            await neighbours(gateway)
        grown = memory_bytes(gateway) - before
    await nothing_in_flight(gateway)
    await back_to(gateway.process.pid, files + ITS_OWN)
    await neighbours(gateway)
    record_property("grown_MiB", grown >> 20)
    assert grown < MOST_BYTES_OF_ALL + peers * MOST_BYTES_OF_EACH


@pytest.mark.parametrize("connections", [500, pytest.param(4000, marks=pytest.mark.long)])
async def test_thousands_of_idle_connections_leave_the_others_theirs(
    gateway: Served, connections: int, record_property: Figures
) -> None:
    await neighbours(gateway)
    files, before = open_files(gateway.process.pid), memory_bytes(gateway)
    async with idle(port_of(gateway.grpc), connections):
        async with asyncio.timeout(ALL_CONNECTED_SECONDS):
            while open_files(gateway.process.pid) < files + connections - ITS_OWN:
                await asyncio.sleep(0.05)
        await neighbours(gateway)
        record_property("grown_MiB", (memory_bytes(gateway) - before) >> 20)
    await back_to(gateway.process.pid, files + ITS_OWN)
    await neighbours(gateway)


@pytest.mark.parametrize("times", [100, pytest.param(5000, marks=pytest.mark.long)])
async def test_resets_half_closes_and_garbage_leave_nothing_behind(
    gateway: Served, times: int, record_property: Figures
) -> None:
    await neighbours(gateway)
    chance = random.Random(times)  # noqa: S311 - no secret
    files, before = open_files(gateway.process.pid), memory_bytes(gateway)
    async with asyncio.TaskGroup() as tasks:
        beside = tasks.create_task(neighbours(gateway))
        for at in range(times):
            await misbehave(port_of((gateway.grpc, gateway.http)[at % 2]), chance)
        await beside
    await back_to(gateway.process.pid, files + ITS_OWN)
    await neighbours(gateway)
    record_property("grown_MiB", (memory_bytes(gateway) - before) >> 20)
