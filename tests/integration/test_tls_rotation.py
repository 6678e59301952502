"""New certificates, keys and client CAs under a gateway that goes on serving."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import grpc
import httpx
import pytest

from seqserve import certificates
from seqserve.gateway import Gateway
from support.archives import make_archive
from support.certificates import Authority, Pair, replace
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.tls import ASKS, HOST, SECONDS, Caller, TurnedAway, ask_http, ask_on, certificate_at

ROTATIONS = 5
CALLS_BETWEEN = 12
KEY, CERTIFICATE, CLIENT_CA = "tls.key", "tls.crt", "ca.crt"


class Mount:
    """A folder as Kubernetes mounts a secret: all files change in one step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count()
        for name in (KEY, CERTIFICATE, CLIENT_CA):
            (folder / name).symlink_to(f"..data/{name}")

    def put(self, pair: Pair, clients: Authority) -> None:
        """Take these instead of what is there."""
        new = self.folder / f"..{next(self._numbers)}"
        new.mkdir()
        replace(new / KEY, pair.key)
        replace(new / CERTIFICATE, pair.certificate)
        replace(new / CLIENT_CA, clients.pem)
        link = self.folder / "..data_tmp"
        link.symlink_to(new.name)
        link.replace(self.folder / "..data")


@pytest.fixture(autouse=True)
def looks_at_each_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "LOOK_SECONDS", 0.0)


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Who signs the gateway's certificates."""
    return Authority.made()


@pytest.fixture(scope="module")
def clients() -> Authority:
    """Who signs the clients' certificates at first."""
    return Authority.made("a CA of clients")


@pytest.fixture
def mount(tmp_path: Path, authority: Authority, clients: Authority) -> Mount:
    made = Mount(tmp_path)
    made.put(authority.issue("first"), clients)
    return made


@pytest.fixture
async def gateway(mount: Mount, engine: FakeEngine) -> AsyncIterator[Gateway]:
    files = {"tls_key": KEY, "tls_certificate": CERTIFICATE, "tls_client_ca": CLIENT_CA}
    paths = {setting: mount.folder / name for setting, name in files.items()}
    async with running_gateway([make_archive(mount.folder)], engine, admin_port=0, **paths) as running:
        yield running


@pytest.fixture
def caller(tmp_path: Path, authority: Authority, clients: Authority) -> Caller:
    return Caller(authority.pem, clients.issue("a client", []).write(tmp_path / "client"))


@asynccontextmanager
async def kept(gateway: Gateway, caller: Caller) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A gRPC and an HTTP connection that have been used; asks over both again."""
    url = f"https://{HOST}:{gateway.http_port}/v2/health/live"
    one = httpx.Limits(max_connections=1)
    async with (
        grpc.aio.secure_channel(f"{HOST}:{gateway.grpc_port}", caller.credentials) as channel,
        httpx.AsyncClient(verify=caller.context, timeout=SECONDS, limits=one) as client,
    ):

        async def ask() -> None:
            await ask_on(channel)
            assert (await client.get(url)).status_code == httpx.codes.OK

        await ask()
        yield ask


async def test_new_connections_see_the_new_certificate_and_old_ones_go_on(
    gateway: Gateway, mount: Mount, authority: Authority, clients: Authority, caller: Caller
) -> None:
    async with kept(gateway, caller) as ask_again:
        second = authority.issue("second")
        mount.put(second, clients)
        for port in ("grpc", "http", "admin"):
            shown = await certificate_at(gateway.ports[port], caller.context)
            assert shown.subject.rfc4514_string() == "CN=second"
        await ask_again()


async def test_no_call_fails_while_certificates_change(
    gateway: Gateway, mount: Mount, authority: Authority, clients: Authority, caller: Caller
) -> None:
    served: asyncio.Queue[None] = asyncio.Queue()
    is_over = asyncio.Event()  # a call that is cancelled in its handshake would leave httpx's socket open

    async def keep_asking(ask: Callable[[], Awaitable[None]]) -> None:
        while not is_over.is_set():
            await ask()
            served.put_nowait(None)

    async with asyncio.timeout(60), kept(gateway, caller) as ask_again:
        asks: list[Callable[[], Awaitable[None]]] = [
            ask_again,
            *(partial(ask, gateway, caller) for ask in ASKS.values()),
        ]
        load = [asyncio.create_task(keep_asking(ask)) for ask in asks]
        for number in range(ROTATIONS):
            mount.put(authority.issue(f"number {number}"), clients)
            for _ in range(CALLS_BETWEEN):
                await served.get()
        is_over.set()
        await asyncio.gather(*load)
    shown = await certificate_at(gateway.grpc_port, caller.context)
    assert shown.subject.rfc4514_string() == f"CN=number {ROTATIONS - 1}"


async def test_clients_of_an_authority_that_is_gone_come_in_no_more(
    gateway: Gateway, mount: Mount, authority: Authority, tmp_path: Path, caller: Caller
) -> None:
    others = Authority.made("a newer CA of clients")
    new = Caller(authority.pem, others.issue("a client", []).write(tmp_path / "new"))
    async with kept(gateway, caller) as ask_again:
        for ask in ASKS.values():
            with pytest.raises(TurnedAway):
                await ask(gateway, new)
        mount.put(authority.issue("second"), others)
        for ask in ASKS.values():
            with pytest.raises(TurnedAway):
                await ask(gateway, caller)
            await ask(gateway, new)
        await ask_again()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_nor_do_they_come_in_by_an_old_session(
    gateway: Gateway, mount: Mount, authority: Authority, caller: Caller, version: ssl.TLSVersion
) -> None:
    context = caller.context
    context.minimum_version, context.maximum_version = version, version

    ask = partial(ask_with, gateway.http_port, context)

    _, session = await asyncio.to_thread(ask, None)
    is_reused, session = await asyncio.to_thread(ask, session)
    assert is_reused
    mount.put(authority.issue("second"), Authority.made("a newer CA of clients"))
    with pytest.raises(TurnedAway):
        await asyncio.to_thread(ask, session)


def ask_with(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[bool, ssl.SSLSession | None]:
    """Whether the gateway took the session up, and the one to come again with; raises TurnedAway."""
    try:
        with (
            socket.create_connection((HOST, port), timeout=SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=HOST, session=session) as client,
        ):
            client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: gateway\r\n\r\n")
            if client.recv(4096).startswith(b"HTTP/1.1 200"):
                return bool(client.session_reused), client.session
    except (ssl.SSLError, ConnectionError) as error:
        raise TurnedAway(str(error)) from error
    raise TurnedAway("closed")


async def test_a_faulty_rotation_changes_nothing_and_is_counted(
    gateway: Gateway, mount: Mount, authority: Authority, clients: Authority, caller: Caller
) -> None:
    key_of_another = Pair(authority.issue().key, authority.issue("second").certificate)
    mount.put(key_of_another, clients)
    for ask in (*ASKS.values(), *ASKS.values()):
        await ask(gateway, caller)
    shown = await certificate_at(gateway.grpc_port, caller.context)
    assert shown.subject.rfc4514_string() == "CN=first"
    async with httpx.AsyncClient(verify=caller.context) as client:
        page = (await client.get(f"https://{HOST}:{gateway.http_port}/metrics")).text
    assert 'seqserve_tls_reloads_total{result="refused"} 1.0' in page
    assert 'seqserve_tls_reloads_total{result="loaded"}' not in page
    mount.put(authority.issue("third"), clients)
    await ask_http(gateway, caller)
    assert (await certificate_at(gateway.grpc_port, caller.context)).subject.rfc4514_string() == "CN=third"
