"""Who gets in where gRPC and HTTP speak TLS, and who does not."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from structlog.testing import capture_logs

from seqserve.errors import SettingsInvalid
from seqserve.gateway import Gateway
from seqserve.ports import PortName
from support.archives import make_archive
from support.certificates import Authority, Pair
from support.engines import FakeEngine
from support.gateway import running_gateway, settings_for_tests
from support.tls import ASKS, HOST, SECONDS, Caller, TurnedAway, ask_http, certificate_at

Serve = Callable[..., AbstractAsyncContextManager[Gateway]]

PORTS: tuple[PortName, ...] = ("grpc", "http", "admin")
AN_HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)
A_MINUTE = timedelta(minutes=1)
TOMORROW = datetime.now(UTC) + timedelta(days=1)


class Mutual(NamedTuple):
    """Who signs the gateway's certificate, and who those of clients."""

    gateways: Authority
    clients: Authority


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.made()


@pytest.fixture(scope="module")
def mutual(authority: Authority) -> Mutual:
    return Mutual(authority, Authority.made("a CA of clients"))


@pytest.fixture
def caller(authority: Authority) -> Caller:
    return Caller(authority.pem)


@pytest.fixture
def serve(tmp_path: Path, engine: FakeEngine, authority: Authority) -> Serve:
    """Runs a gateway with that pair, or a valid one."""

    @asynccontextmanager
    async def serving(pair: Pair | None = None, **changes: Any) -> AsyncIterator[Gateway]:
        key, certificate = (pair or authority.issue()).write(tmp_path)
        files = {"tls_key": key, "tls_certificate": certificate, "admin_port": 0}
        async with running_gateway([make_archive(tmp_path)], engine, **(files | changes)) as gateway:
            yield gateway

    return serving


# ---- the gateway's certificate ----


async def test_those_who_trust_its_authority_get_in(serve: Serve, caller: Caller) -> None:
    async with serve() as gateway:
        for ask in ASKS.values():
            await ask(gateway, caller)


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (lambda _: Authority.made("another CA").issue(), "unable to get local issuer|self.signed"),
        (
            lambda ca: ca.issue(not_before=AN_HOUR_AGO, valid_for=A_MINUTE),
            "expired",
        ),
        (lambda ca: ca.issue(not_before=TOMORROW), "not yet valid"),
        (lambda ca: ca.issue(names=["gateway.example"]), "mismatch|name|not valid for"),
    ],
    ids=["another CA", "expired", "not yet valid", "another name"],
)
async def test_callers_turn_away_from_a_certificate_that_is_not_right(
    serve: Serve, caller: Caller, authority: Authority, pair: Callable[[Authority], Pair], reason: str
) -> None:
    async with serve(pair(authority)) as gateway:
        for port in ("grpc", "admin"):
            with pytest.raises(TurnedAway):
                await ASKS[port](gateway, caller)
        with pytest.raises(TurnedAway, match=re.compile(reason, re.IGNORECASE)):
            await ask_http(gateway, caller)


async def test_a_certificate_that_expired_is_told_at_the_start(serve: Serve, authority: Authority) -> None:
    expired = authority.issue(not_before=AN_HOUR_AGO, valid_for=A_MINUTE)
    with capture_logs() as logged:
        async with serve(expired):
            pass
    assert any(
        line["log_level"] == "error" and "expired" in line["reason"] for line in logged if "reason" in line
    )


def test_a_key_of_another_certificate_keeps_it_from_starting(tmp_path: Path, authority: Authority) -> None:
    key, _ = authority.issue().write(tmp_path, "one")
    _, certificate = authority.issue().write(tmp_path, "other")
    with pytest.raises(SettingsInvalid, match=r"^tls_key: .*one\.key: it is not the key of .*other\.crt$"):
        Gateway(settings_for_tests(tls_key=key, tls_certificate=certificate))


# ---- the clients' certificates ----


@pytest.mark.parametrize(
    "pair",
    [
        lambda own: own.issue("a client", []),
        lambda own: own.issue("a client", [], usage=ExtendedKeyUsageOID.CLIENT_AUTH),
    ],
    ids=["any usage", "for clients"],
)
async def test_clients_of_the_named_authority_get_in(
    tmp_path: Path, serve: Serve, mutual: Mutual, pair: Callable[[Authority], Pair]
) -> None:
    caller = Caller(mutual.gateways.pem, pair(mutual.clients).write(tmp_path, "client"))
    async with serve(tls_client_ca=mutual.clients.write(tmp_path, "clients")) as gateway:
        for ask in ASKS.values():
            await ask(gateway, caller)


@pytest.mark.parametrize(
    "pair",
    [
        lambda both: both.clients.issue("a server", usage=ExtendedKeyUsageOID.SERVER_AUTH),
        lambda both: both.clients.issue("a client", [], not_before=AN_HOUR_AGO, valid_for=A_MINUTE),
        lambda both: both.clients.issue("a client", [], not_before=TOMORROW),
        lambda both: both.gateways.issue("a client", []),
        lambda _: Authority.made("a CA of clients").issue("a client", []),
        None,
    ],
    ids=["for servers", "expired", "not yet valid", "the gateway's CA", "another CA of that name", "none"],
)
async def test_other_clients_are_turned_away(
    tmp_path: Path, serve: Serve, mutual: Mutual, pair: Callable[[Mutual], Pair] | None
) -> None:
    files = None if pair is None else pair(mutual).write(tmp_path, "client")
    caller = Caller(mutual.gateways.pem, files)
    async with serve(tls_client_ca=mutual.clients.write(tmp_path, "clients")) as gateway:
        for ask in ASKS.values():
            with pytest.raises(TurnedAway):
                await ask(gateway, caller)


# ---- what is no TLS, or an old one ----


async def test_plaintext_at_a_port_with_tls_is_closed_and_the_port_lives_on(
    serve: Serve, caller: Caller
) -> None:
    async with serve() as gateway:
        for port in PORTS:
            assert b"HTTP" not in await said_to(gateway.ports[port], b"GET /v2/health/live HTTP/1.1\r\n\r\n")
            async with grpc.aio.insecure_channel(f"{HOST}:{gateway.ports[port]}") as channel:
                with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                    await HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        for ask in ASKS.values():
            await ask(gateway, caller)


async def said_to(port: int, words: bytes) -> bytes:
    """What comes back until the port closes the connection."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(words)
    try:
        async with asyncio.timeout(SECONDS):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.transport.abort()


async def test_who_connects_and_says_nothing_is_dropped(serve: Serve, caller: Caller) -> None:
    async with serve(handshake_timeout_seconds=0.2) as gateway:
        await asyncio.gather(*(said_to(gateway.ports[port], b"") for port in PORTS))
        await ask_http(gateway, caller)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_old_versions_of_tls_are_refused(serve: Serve, caller: Caller, version: ssl.TLSVersion) -> None:
    old, new = caller.context, caller.context
    old.set_ciphers("ALL:@SECLEVEL=0")  # or this client would not even try
    old.minimum_version, old.maximum_version = version, version
    new.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serve() as gateway:
        for port in PORTS:
            protocols = ["http/1.1" if port == "http" else "h2"]
            old.set_alpn_protocols(protocols)
            new.set_alpn_protocols(protocols)
            with pytest.raises(OSError, match=r"(?i)protocol|reset|^$"):
                await certificate_at(gateway.ports[port], old)
            await certificate_at(gateway.ports[port], new)


async def test_the_port_for_probes_stays_plaintext(serve: Serve, caller: Caller) -> None:
    async with serve(health_port=0) as gateway:
        address = f"{HOST}:{gateway.ports['health']}"
        async with grpc.aio.insecure_channel(address) as channel:
            reply = await HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
        async with grpc.aio.secure_channel(address, caller.credentials) as channel:
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)


async def test_the_port_for_probes_names_no_model_where_callers_need_a_certificate(
    tmp_path: Path, serve: Serve, mutual: Mutual
) -> None:
    clients = mutual.clients.write(tmp_path, "clients")
    async with (
        serve(health_port=0, tls_client_ca=clients) as gateway,
        grpc.aio.insecure_channel(f"{HOST}:{gateway.ports['health']}") as channel,
    ):
        listed = await HealthStub(channel).List(health_pb2.HealthListRequest(), timeout=SECONDS)

    assert "liveness" in listed.statuses
    assert not [name for name in listed.statuses if name.startswith("model/")]


async def test_the_port_of_administrators_speaks_tls_too(serve: Serve, caller: Caller) -> None:
    async with serve() as gateway:
        context = caller.context
        context.set_alpn_protocols(["h2"])
        shown = await certificate_at(gateway.ports["admin"], context)
        assert shown == await certificate_at(gateway.grpc_port, context)


async def test_when_the_certificate_expires_is_measured(serve: Serve, caller: Caller) -> None:
    until = datetime(2099, 1, 1, tzinfo=UTC)
    async with (
        serve(Authority.made().issue(not_after=until)) as gateway,
        httpx.AsyncClient(verify=False) as client,  # noqa: S501 - it is not about trust
    ):
        page = (await client.get(f"https://{HOST}:{gateway.http_port}/metrics")).text
    [line] = [line for line in page.splitlines() if line.startswith("seqserve_tls_certificate_expiry")]
    assert float(line.split()[1]) == until.timestamp()
