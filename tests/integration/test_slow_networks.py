"""The tests' own networks do what they say: a relay that delays, narrows, stalls and resets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from support.tcp_relay import Relay, relay_to

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    """To a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            writer.write(chunk)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with relay_to(f"127.0.0.1:{port}") as running:
        yield running
    server.close()


@pytest.fixture
async def ends(relay: Relay) -> AsyncIterator[Ends]:
    reader, writer = await asyncio.open_connection(relay.host, relay.port)
    yield reader, writer
    writer.close()


async def test_what_is_sent_arrives_whole_and_so_does_its_end(ends: Ends) -> None:
    reader, writer = ends
    sent = bytes(range(256)) * 4096
    writer.write(sent)
    writer.write_eof()
    assert await reader.read(-1) == sent


@pytest.mark.parametrize("change", [{"delay_seconds": 0.1}, {"bytes_per_second": 1000.0}])
async def test_what_is_slow_takes_its_time(relay: Relay, ends: Ends, change: dict[str, float]) -> None:
    for name, value in change.items():
        setattr(relay, name, value)
    reader, writer = ends
    begun = asyncio.get_running_loop().time()
    for _ in range(2):
        writer.write(b"x" * 100)
        assert await reader.readexactly(100)
    assert asyncio.get_running_loop().time() - begun >= 0.1


async def test_what_is_stalled_arrives_later(relay: Relay, ends: Ends) -> None:
    reader, writer = ends
    relay.stall()
    writer.write(b"x")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await reader.read(1)
    relay.resume()
    assert await reader.read(1) == b"x"


async def test_what_is_cut_off_is_reset(relay: Relay, ends: Ends) -> None:
    reader, writer = ends
    writer.write(b"x")
    assert await reader.read(1) == b"x"
    relay.cut_off()
    with pytest.raises(ConnectionError):
        await reader.readexactly(1)
