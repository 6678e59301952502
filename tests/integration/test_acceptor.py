"""Whatever goes wrong while connections are accepted, the next one is, and the log says so once in a while."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from seqserve.http_api import acceptor
from seqserve.http_api.acceptor import Acceptor
from seqserve.http_api.connection import Connection, ConnectionConfig
from support.running import LIMIT_SECONDS

HOST = "127.0.0.1"
TOLD = "no connection can be accepted"


class Greeting(asyncio.Protocol):
    """Says so where it is connected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sender = cast("asyncio.Transport", transport)
        sender.write(b"welcome")
        sender.close()


class Faults:
    """Raises each of them once, one at each call; then all is well."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def __call__(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


@asynccontextmanager
async def accepting(
    make: Callable[[], None] = lambda: None,
    on_refused: Callable[[], None] = lambda: None,
    max_connections: int = 8,
    connections: list[object] | None = None,
) -> AsyncIterator[int]:
    """A port that greets."""

    def greeting() -> Greeting:
        make()
        return Greeting()

    limits: Any = ConnectionConfig("none:none")
    limits.max_connections, limits.on_refused = max_connections, on_refused
    with socket.create_server((HOST, 0)) as listening:
        made = cast("Callable[[], Connection]", greeting)
        one = Acceptor(limits, None, connections if connections is not None else [], made)
        one.start(listening)
        yield int(listening.getsockname()[1])
        await one.aclose()


async def greeted(port: int) -> bytes:
    """What comes, until the other side closes."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "RETRY_SECONDS", 0.0)


async def test_a_want_of_memory_while_it_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    faults, accept = Faults(MemoryError(), RuntimeError("out of order")), loop.sock_accept

    async def scarce(listening: socket.socket) -> tuple[socket.socket, object]:
        faults()
        return await accept(listening)

    monkeypatch.setattr(loop, "sock_accept", scarce)
    with capture_logs() as logs:
        async with accepting() as port:
            assert await greeted(port) == b"welcome"
    assert [line["error"] for line in logs] == ["MemoryError()", "RuntimeError('out of order')"]


async def test_a_connection_that_cannot_be_made_is_closed_and_the_next_one_taken() -> None:
    with capture_logs() as logs:
        async with accepting(make=Faults(MemoryError(), MemoryError())) as port:
            assert [await greeted(port) for _ in range(3)] == [b"", b"", b"welcome"]
    assert [line["event"] for line in logs] == [TOLD] * 2


async def test_a_refusal_that_cannot_be_counted_is_one_all_the_same() -> None:
    others: list[object] = [object()]
    faults = Faults(MemoryError())
    async with accepting(on_refused=faults, max_connections=1, connections=others) as port:
        assert [await greeted(port) for _ in range(2)] == [b"", b""]
        others.clear()
        assert await greeted(port) == b"welcome"
    assert not faults.errors


async def test_where_not_even_the_log_can_be_written_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Faults(MemoryError(), MemoryError())
    monkeypatch.setattr(acceptor.log, "warning", lambda *_, **__: told())
    async with accepting(make=Faults(MemoryError(), MemoryError())) as port:
        assert [await greeted(port) for _ in range(3)] == [b"", b"", b"welcome"]
    assert not told.errors


async def test_it_is_told_once_for_each_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def paused(seconds: float) -> None:
        if seconds:
            pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(acceptor, "RETRY_SECONDS", 1.0)
    monkeypatch.setattr(asyncio, "sleep", paused)
    with capture_logs() as logs:
        async with accepting(make=Faults(*[MemoryError() for _ in range(5)])) as port:
            assert [await greeted(port) for _ in range(6)] == [*[b""] * 5, b"welcome"]
    assert len(logs) == len(pauses) == 5
    assert set(pauses) == {1.0}
