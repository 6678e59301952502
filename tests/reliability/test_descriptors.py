"""A real gateway that may open no more files: who is connected is served, and all is well once there are files again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest

from support.checked import Checked, ask_over_http, checked, web_of
from support.descriptors import back_to, limited, open_files
from support.reloads import bring
from support.served import Served, serving

SPARE = 6
CALLERS = 8
CONNECTIONS = 60
DIAL_SECONDS = 60.0
ITS_OWN = 4
"""The archive of version 2, and what the store is watched with, which may have begun after the first look."""


@pytest.fixture
def gateway(tmp_path: Path, store: Path, front: str, engine: str) -> Iterator[Served]:
    """Follows a store that the test changes."""
    chosen = (f"--front={front}", f"--engine={engine}")
    with serving(tmp_path, store, *chosen, "--watch-interval-seconds=0.2") as running:
        yield running


@contextmanager
def dialled(address: str, count: int) -> Iterator[None]:
    """So many connections that say nothing; the kernel takes them whether the gateway does or not."""
    host, _, port = address.rpartition(":")
    with ExitStack() as held:
        for _ in range(count):
            held.enter_context(socket.create_connection((host, int(port)), DIAL_SECONDS))
        yield


@asynccontextmanager
async def exhausted(gateway: Served, caller: Checked) -> AsyncIterator[None]:
    """While it has as many files as it may have, by strangers on both ports."""
    process = gateway.process.pid
    most = open_files(process) + SPARE
    http = gateway.http.removeprefix("http://")
    with limited(process, most), dialled(gateway.grpc, CONNECTIONS), dialled(http, CONNECTIONS):
        while open_files(process) < most:
            assert await caller.call() == "OK"
        yield


async def answered_anew(gateway: Served) -> None:
    """Return when somebody who connects now is answered, over gRPC and over HTTP."""
    while True:
        async with checked(gateway.grpc) as newcomer, web_of(gateway.http) as web:
            try:
                if (
                    await newcomer.call(timeout_seconds=5) == "OK"
                    and await ask_over_http(web) == httpx.codes.OK
                ):
                    assert not newcomer.wrong
                    return
            except httpx.HTTPError:
                await asyncio.sleep(0.1)


async def test_without_files_the_connected_are_served_and_a_reload_is_done_later(
    gateway: Served, store: Path
) -> None:
    ended = asyncio.Event()
    before = open_files(gateway.process.pid)
    async with checked(gateway.grpc) as caller, asyncio.TaskGroup() as tasks:
        assert await caller.call() == "OK"
        for _ in range(CALLERS):
            tasks.create_task(caller.call_until(ended))
        async with exhausted(gateway, caller):
            await asyncio.to_thread(bring, store, "2", is_broken=False)
            for at in range(200):
                assert await caller.call([at % 64]) == "OK"
            assert "2" not in caller.versions, "a file was left to read it with, so that nothing is shown"
        while "2" not in caller.versions:
            await asyncio.sleep(0.05)
        await answered_anew(gateway)
        ended.set()
    assert caller.outcomes.keys() == {"OK"}, caller.errors[:3]
    assert not caller.wrong
    await back_to(gateway.process.pid, before + ITS_OWN)
