"""How TorchServes that others run are told who asks, and are known themselves: tokens and TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509

from seqserve.engines.base import FloatArray
from seqserve.errors import EngineUnavailable, SettingsInvalid
from seqserve.settings import Settings
from seqserve.torchserve_setup import external_engine
from support.certificates import Authority
from support.gateway import settings_for_tests
from support.running import until
from support.torchserve import BATCH, ROWS, FakeInference, Keys, archive, serving
from support.torchserve_world import FakePresence

ONE = ("tiny", "1")
LOCAL = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))


def settings(port: int, **changes: Any) -> Settings:
    return settings_for_tests(engine="torchserve", torchserve_address=f"127.0.0.1:{port}", **changes)


async def answer_of(settings: Settings, folder: Path) -> FloatArray:
    async with external_engine(settings, FakePresence()) as engine:
        model = await engine.load(archive(folder))
        return await model.infer(BATCH)


@pytest.mark.parametrize("is_bare", [False, True])
async def test_a_token_comes_from_a_key_file_or_a_bare_one_and_is_read_again_when_it_is_renewed(
    tmp_path: Path, *, is_bare: bool
) -> None:
    keys = Keys(tmp_path / "key_file.json")
    file = tmp_path / "token" if is_bare else keys.path

    def write() -> None:
        keys.write()
        if is_bare:
            file.write_text(keys.of("inference"))

    write()
    presence = FakePresence()
    async with (
        serving(FakeInference(token=lambda: keys.of("inference"))) as port,
        external_engine(settings(port, torchserve_token_file=file), presence) as engine,
    ):
        model = await engine.load(archive(tmp_path))
        await model.infer(BATCH)
        keys.renew("inference")
        write()
        await engine.look()
        assert np.array_equal(await model.infer(BATCH), ROWS)
        keys.renew("inference")
        await engine.look()
        assert presence.away == {ONE}, "the file has not been renewed"
        write()
        await engine.look()

    assert presence.away == set()


async def test_without_its_token_file_it_is_away_with_words(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "key_file.json")
    async with serving(FakeInference(token=lambda: keys.of("inference"))) as port:
        with pytest.raises(EngineUnavailable, match="token file cannot be read"):
            await answer_of(settings(port, torchserve_token_file=tmp_path / "nowhere"), tmp_path)


async def test_a_server_is_called_by_its_name_though_the_name_is_resolved_here(tmp_path: Path) -> None:
    connections: set[asyncio.StreamWriter] = set()
    called_by_name = asyncio.Event()
    port = 0

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        writer.write(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))  # HTTP/2: empty SETTINGS, so that calls begin
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await reader.readuntil(f"localhost:{port}".encode())
                called_by_name.set()
        finally:  # one that came late is cancelled with the test
            writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        connections.discard(writer)

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        named = settings(port).model_copy(update={"torchserve_address": f"localhost:{port}"})
        with pytest.raises(EngineUnavailable):
            await answer_of(named, tmp_path)
        await until(lambda: not connections)
    assert called_by_name.is_set()


async def test_tls_with_a_private_ca(tmp_path: Path) -> None:
    authority = Authority.made()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    async with serving(FakeInference(), authority.credentials(*LOCAL)) as port:
        rows = await answer_of(
            settings(port, torchserve_tls=True, torchserve_tls_ca=tmp_path / "ca.pem"), tmp_path
        )

    assert np.array_equal(rows, ROWS)


@pytest.mark.parametrize("fault", ["another CA", "another name", "no TLS there", "no TLS here"])
async def test_a_server_that_is_not_the_one_it_should_be_is_refused_with_words(
    tmp_path: Path, fault: str
) -> None:
    authority, trusted = Authority.made(), Authority.made("another CA")
    names = (x509.DNSName("another.example"),) if fault == "another name" else LOCAL
    credentials = None if fault == "no TLS there" else authority.credentials(*names)
    pem = trusted.pem if fault == "another CA" else authority.pem
    (tmp_path / "ca.pem").write_bytes(pem)
    tls: dict[str, Any] = (
        {} if fault == "no TLS here" else {"torchserve_tls": True, "torchserve_tls_ca": tmp_path / "ca.pem"}
    )
    inference = FakeInference()
    async with serving(inference, credentials) as port:
        with pytest.raises(EngineUnavailable) as caught:
            await answer_of(settings(port, **tls), tmp_path)

    assert inference.requests == []
    words = {
        "another CA": "CERTIFICATE_VERIFY_FAILED",
        "another name": "hostname verification check failed",
        "no TLS there": "handshake failed",
        "no TLS here": "UNAVAILABLE",
    }
    assert words[fault].lower() in str(caught.value).lower()


async def test_a_ca_that_cannot_be_read_is_a_setting_that_is_wrong(tmp_path: Path) -> None:
    wrong = settings(1, torchserve_tls=True, torchserve_tls_ca=tmp_path / "nowhere")

    with pytest.raises(SettingsInvalid, match=r"torchserve_tls_ca: .*nowhere: No such file"):
        await answer_of(wrong, tmp_path)
