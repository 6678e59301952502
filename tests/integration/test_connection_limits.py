"""Connections without end on each port: those beyond its limit are closed, and the others go on.

For HTTP in plaintext see test_hostile_http.py.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from structlog.testing import capture_logs

from seqserve.certificates import Certificates, TlsFiles
from seqserve.gateway import Gateway
from seqserve.grpc_api.health_port import MAX_CONNECTIONS
from seqserve.http_api import acceptor
from seqserve.http_api.listener import HttpListener
from seqserve.http_api.tls import Tls
from seqserve.ports import PortName
from support.archives import make_archive
from support.certificates import Authority
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.http2 import connected
from support.rest import Port
from support.tls import HOST, SECONDS, Caller, TurnedAway, ask_http, ask_on, certificate_at

BEYOND = 8
LIVENESS = health_pb2.HealthCheckRequest(service="liveness")


@asynccontextmanager
async def dialled(port: int) -> AsyncIterator[asyncio.StreamReader]:
    """A connection that says nothing."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        yield reader
    finally:
        writer.transport.abort()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Whether the other side closes it, now and not after a handshake's time."""
    try:
        async with asyncio.timeout(SECONDS):
            while await reader.read(1024):
                pass
    except ConnectionError:
        pass
    return True


async def until_asked(gateway: Gateway, port: PortName) -> None:
    """Ask over gRPC until somebody answers: whoever left has to be noticed first."""
    async with asyncio.timeout(SECONDS):
        while True:
            async with grpc.aio.insecure_channel(f"{HOST}:{gateway.ports[port]}") as channel:
                try:
                    if port == "health":
                        await HealthStub(channel).Check(LIVENESS)
                    else:
                        await ask_on(channel)
                except (TurnedAway, grpc.aio.AioRpcError):
                    continue
                return


PORTS: dict[PortName, int] = {"grpc": 3, "admin": 3, "health": MAX_CONNECTIONS}


@pytest.mark.parametrize("port", PORTS)
async def test_grpc_connections_beyond_the_limit_are_closed_and_the_others_go_on(
    tmp_path: Path, engine: FakeEngine, port: PortName
) -> None:
    ports = {"admin_port": 0, "health_port": 0}
    limits = {"max_grpc_connections": 3, "handshake_timeout_seconds": 4 * SECONDS}
    async with running_gateway([make_archive(tmp_path)], engine, **ports, **limits) as gateway:
        number = gateway.ports[port]
        async with AsyncExitStack() as held:
            held_open = [await held.enter_async_context(connected(number)) for _ in range(PORTS[port])]
            for _ in range(BEYOND):
                async with dialled(number) as beyond:
                    assert await is_closed(beyond)
            assert all(not peer.reader.at_eof() for peer in held_open)
            async with httpx.AsyncClient() as http:
                assert (await http.get(f"http://{HOST}:{gateway.http_port}/healthz")).status_code == 200
        await until_asked(gateway, port)


async def test_silent_grpc_connections_count_too(tmp_path: Path, engine: FakeEngine) -> None:
    limits = {"max_grpc_connections": 2, "handshake_timeout_seconds": 4 * SECONDS}
    async with running_gateway([make_archive(tmp_path)], engine, **limits) as gateway:
        async with AsyncExitStack() as held:
            here = [await held.enter_async_context(dialled(gateway.grpc_port)) for _ in range(2)]
            for _ in range(BEYOND):
                async with dialled(gateway.grpc_port) as beyond:
                    assert await is_closed(beyond)
            assert all(not reader.at_eof() for reader in here)
        await until_asked(gateway, "grpc")


async def test_a_silent_grpc_connection_leaves_room_in_time(tmp_path: Path, engine: FakeEngine) -> None:
    limits = {"max_grpc_connections": 1, "handshake_timeout_seconds": 0.3}
    async with (
        running_gateway([make_archive(tmp_path)], engine, **limits) as gateway,
        dialled(gateway.grpc_port) as silent,
    ):
        assert await is_closed(silent)
        await until_asked(gateway, "grpc")


# ---- HTTP over TLS: they count from before the handshake ----


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.made()


@pytest.fixture
def caller(authority: Authority) -> Caller:
    return Caller(authority.pem)


@asynccontextmanager
async def over_tls(
    tmp_path: Path, engine: FakeEngine, authority: Authority, handshake_seconds: float = 4 * SECONDS
) -> AsyncIterator[Gateway]:
    key, certificate = authority.issue().write(tmp_path)
    changes = {"tls_key": key, "tls_certificate": certificate, "max_http_connections": 2}
    async with running_gateway(
        [make_archive(tmp_path)], engine, handshake_timeout_seconds=handshake_seconds, **changes
    ) as gateway:
        yield gateway


async def until_served(gateway: Gateway, caller: Caller) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                await ask_http(gateway, caller)
            except (TurnedAway, httpx.TransportError):
                continue
            return


async def test_over_tls_silent_connections_count_before_their_handshake(
    tmp_path: Path, engine: FakeEngine, authority: Authority, caller: Caller
) -> None:
    async with over_tls(tmp_path, engine, authority) as gateway:
        async with AsyncExitStack() as held:
            here = [await held.enter_async_context(dialled(gateway.http_port)) for _ in range(2)]
            for _ in range(BEYOND):
                async with dialled(gateway.http_port) as beyond:
                    assert await is_closed(beyond)
            with pytest.raises(OSError, match=r".*"):
                await certificate_at(gateway.http_port, caller.context)
            assert all(not reader.at_eof() for reader in here)
        await until_served(gateway, caller)
        async with httpx.AsyncClient(verify=caller.context) as client:
            metrics = (await client.get(f"https://{HOST}:{gateway.http_port}/metrics")).text

    refused = next(line for line in metrics.splitlines() if line.startswith("seqserve_refused_connections"))
    assert float(refused.split()[1]) >= BEYOND


async def test_over_tls_finished_handshakes_count_once(
    tmp_path: Path, engine: FakeEngine, authority: Authority, caller: Caller
) -> None:
    async with over_tls(tmp_path, engine, authority) as gateway, AsyncExitStack() as held:
        address = f"https://{HOST}:{gateway.http_port}"
        first, second, third = [
            await held.enter_async_context(httpx.AsyncClient(base_url=address, verify=caller.context))
            for _ in range(3)
        ]
        for _ in range(2):
            assert (await first.get("/healthz")).status_code == 200
            assert (await second.get("/healthz")).status_code == 200
        with pytest.raises(httpx.TransportError):
            await third.get("/healthz")
        assert (await first.get("/healthz")).status_code == 200


async def test_over_tls_a_handshake_that_fails_or_does_not_end_leaves_room(
    tmp_path: Path, engine: FakeEngine, authority: Authority, caller: Caller
) -> None:
    async with over_tls(tmp_path, engine, authority, handshake_seconds=0.3) as gateway:
        for _ in range(BEYOND):
            reader, writer = await asyncio.open_connection(HOST, gateway.http_port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await is_closed(reader)
            writer.transport.abort()
        async with AsyncExitStack() as held:
            silent = [await held.enter_async_context(dialled(gateway.http_port)) for _ in range(2)]
            assert all([await is_closed(reader) for reader in silent])
            await until_served(gateway, caller)


async def test_over_tls_the_port_closes_without_waiting_for_handshakes(
    tmp_path: Path, engine: FakeEngine, authority: Authority
) -> None:
    async with AsyncExitStack() as held:
        async with over_tls(tmp_path, engine, authority) as gateway:
            silent = await held.enter_async_context(dialled(gateway.http_port))
            async with asyncio.timeout(SECONDS):
                await until_refused(gateway, held)
        assert await is_closed(silent)
        with pytest.raises(OSError, match=r".*"):
            await asyncio.open_connection(HOST, gateway.http_port)


async def until_refused(gateway: Gateway, held: AsyncExitStack) -> None:
    """Until the port is full, so that the silent one has been taken."""
    while True:
        reader = await held.enter_async_context(dialled(gateway.http_port))
        try:
            async with asyncio.timeout(0.05):
                await is_closed(reader)
        except TimeoutError:
            continue
        return


async def test_over_tls_a_queue_of_connections_leaves_others_their_turn(
    tmp_path: Path, authority: Authority
) -> None:
    refused: list[None] = []
    tls = Tls(Certificates(TlsFiles(*authority.issue().write(tmp_path)), lambda _: None), SECONDS)
    app = await Port().app(tmp_path)
    listener = HttpListener(app, tls, max_connections=1, on_refused=lambda: refused.append(None))
    number = await listener.start(HOST, 0)
    queue = [socket.create_connection((HOST, number)) for _ in range(100)]
    turns = 0
    async with asyncio.timeout(SECONDS):
        while len(refused) < len(queue) - 1:
            await asyncio.sleep(0)
            turns += 1
    for one in queue:
        one.close()
    await listener.stop()

    assert turns >= len(refused)


async def test_over_tls_the_port_goes_on_when_the_system_has_files_again(
    tmp_path: Path,
    engine: FakeEngine,
    authority: Authority,
    caller: Caller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    faults = [OSError(errno.EMFILE, "Too many open files"), ConnectionAbortedError()]
    accept = loop.sock_accept

    async def scarce(listening: socket.socket) -> tuple[socket.socket, object]:
        if faults:
            raise faults.pop(0)
        return await accept(listening)

    monkeypatch.setattr(acceptor, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(loop, "sock_accept", scarce)
    with capture_logs() as logs:
        async with over_tls(tmp_path, engine, authority) as gateway:
            await ask_http(gateway, caller)

    (warning,) = [one for one in logs if one["log_level"] == "warning"]
    assert warning["error"] == "Too many open files"
    assert faults == []
