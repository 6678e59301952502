"""Connections that come to nothing, or to something, by TLS: what the client and the commands say."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from seqserve.client import HandshakeFailed, Tls
from support.certificates import Authority, Pair
from support.command import seqserve


@dataclass(frozen=True)
class World:
    """Who signs for whom: `ours` for the server, `foreign` for nobody here."""

    ours: Authority
    foreign: Authority

    @property
    def trusting(self) -> Tls:
        return Tls(self.ours.pem)

    def known_as(self, pair: Pair) -> Tls:
        return Tls(self.ours.pem, pair.certificate, pair.key)


@pytest.fixture(scope="module")
def world() -> World:
    return World(Authority.made(), Authority.made("another CA"))


@contextmanager
def listening(pair: Pair | None, client_ca: bytes | None = None) -> Iterator[str]:
    """The address of a server that answers for its health, with TLS where it has a pair."""
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    if pair is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        wants_one = client_ca is not None
        chain = [(pair.key, pair.certificate)]
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(chain, client_ca, wants_one))
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


async def fault(twin: Any, address: str, tls: Any) -> HandshakeFailed:
    """What a call raises."""
    async with twin(address, tls=tls) as client:
        with pytest.raises(HandshakeFailed) as failed:
            await client.health()
    assert failed.value.code == "UNAVAILABLE"
    assert failed.value.request_id
    assert not failed.value.is_unreachable
    return failed.value


async def test_a_certificate_that_is_trusted_connects(twin: Any, world: World) -> None:
    with listening(world.ours.issue()) as address:
        async with twin(address, tls=world.trusting) as client:
            assert await client.health()


async def test_files_do_as_well_as_bytes_and_a_name_of_ones_own(
    twin: Any, world: World, tmp_path: Path
) -> None:
    key, certificate = world.ours.issue("client", ()).write(tmp_path)
    tls = Tls(world.ours.write(tmp_path), certificate, key, server_name="gateway.example")

    with listening(world.ours.issue(names=["gateway.example"]), world.ours.pem) as address:
        async with twin(address, tls=tls) as client:
            assert await client.health()


async def test_a_foreign_or_expired_certificate_is_not_trusted(twin: Any, world: World) -> None:
    with listening(world.foreign.issue()) as address:
        assert "its certificate is not trusted: unable to get" in str(
            await fault(twin, address, world.trusting)
        )
        assert "its certificate is not trusted" in str(await fault(twin, address, tls=True))
    with listening(world.ours.issue(valid_for=timedelta(seconds=1))) as address:
        expired = await fault(twin, address, world.trusting)
    assert str(expired) == f"{address}: its certificate is not trusted: certificate has expired"


async def test_a_certificate_of_another_name_is_refused_with_the_name(twin: Any, world: World) -> None:
    named = Tls(world.ours.pem, server_name="gateway.example")

    with listening(world.ours.issue(names=["elsewhere.example"])) as address:
        unnamed = await fault(twin, address, world.trusting)
        other = await fault(twin, address, named)

    assert str(unnamed) == f"{address}: its certificate is for another name than 127.0.0.1"
    assert str(other) == f"{address}: its certificate is for another name than gateway.example"


async def test_plaintext_and_tls_that_meet_are_told(twin: Any, world: World) -> None:
    with listening(None) as address:
        assert str(await fault(twin, address, world.trusting)) == f"{address}: it speaks no TLS there"
    with listening(world.ours.issue()) as address:
        plain = await fault(twin, address, tls=False)
    assert str(plain) == f"{address}: it closed the connection; perhaps it ends, is full, or speaks TLS there"


async def test_a_port_with_tls_for_another_protocol_is_told(twin: Any, world: World, tmp_path: Path) -> None:
    key, certificate = world.ours.issue().write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)

    async with server:
        address = "127.0.0.1:{1}".format(*server.sockets[0].getsockname())
        assert (
            str(await fault(twin, address, world.trusting)) == f"{address}: it speaks TLS there, but no gRPC"
        )


async def test_a_server_that_wants_a_certificate_says_so_as_far_as_it_does(twin: Any, world: World) -> None:
    with listening(world.ours.issue(), world.ours.pem) as address:
        without = await fault(twin, address, world.trusting)
        foreign = await fault(twin, address, world.known_as(world.foreign.issue("client", ())))
        async with twin(address, tls=world.known_as(world.ours.issue("client", ()))) as client:
            assert await client.health()

    assert str(without).endswith("perhaps it wants a client's certificate")
    assert str(foreign).endswith("perhaps it does not accept this client's certificate")


async def test_what_is_no_certificate_is_told(twin: Any, world: World) -> None:
    with listening(world.ours.issue()) as address:
        assert "cannot be used: no PEM" in str(await fault(twin, address, Tls(b"nothing")))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tls"], "its certificate is not trusted: unable to get local issuer certificate"),
        (
            ["--no-tls"],
            "it closed the connection; perhaps it ends, is full, or speaks TLS there",
        ),
        (
            [],
            "it closed the connection; perhaps it ends, is full, or speaks TLS there",
        ),
    ],
)
@pytest.mark.parametrize("command", ["health", "models"])
async def test_a_command_says_it_in_one_line(
    world: World, command: str, options: list[str], words: str
) -> None:
    with listening(world.ours.issue()) as address:
        ended = await asyncio.to_thread(seqserve, command, "--address", address, *options)

    assert (ended.status, ended.one_line) == (1, f"seqserve: {address}: {words}")


async def test_health_over_mutual_tls_by_options_and_environment(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = world.ours.issue("client", ()).write(tmp_path)
    ca = world.ours.write(tmp_path)
    own = ["--tls-certificate", str(certificate), "--tls-key", str(key)]

    with listening(world.ours.issue(), world.ours.pem) as address:
        by_options = await asyncio.to_thread(
            seqserve, "health", "--address", address, "--tls-ca", str(ca), *own
        )
        monkeypatch.setenv("SEQSERVE_ADDRESS", address)
        monkeypatch.setenv("SEQSERVE_TLS_CA", str(ca))
        by_environment = await asyncio.to_thread(seqserve, "health", *own)

    assert [ended.output for ended in (by_options, by_environment)] == ["SERVING\n"] * 2


async def test_no_tls_beats_the_authority_of_the_environment(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQSERVE_TLS_CA", str(world.ours.write(tmp_path)))

    with listening(None) as address:
        probed = await asyncio.to_thread(seqserve, "health", "--address", address, "--no-tls")
        refused = await asyncio.to_thread(seqserve, "health", "--address", address)

    assert probed.output == "SERVING\n"
    assert refused.one_line == f"seqserve: {address}: it speaks no TLS there"
