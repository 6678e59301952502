"""Peers that do what no good client does, over sockets of their own."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from support.http2 import (
    END_HEADERS,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PREFACE,
    SETTINGS,
    Peer,
    call_headers,
    connected,
    frame,
    header_block,
    message,
)
from support.oip import infer_request
from support.truth import IMAGES, MODEL

ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER: close sends a reset."""
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
NO_WINDOW = struct.pack(">HI", INITIAL_WINDOW_SIZE, 0)
FIRST_BYTES = (
    b"\x16\x03\x01" + b"\xff" * 200,
    PREFACE,
    PREFACE[:10],
    b"GET / HT",
    b"POST / HTTP/1.1\r\n",
    b"\0" * 500,
)


@asynccontextmanager
async def reads_nothing(port: int, requests: int) -> AsyncIterator[Peer]:
    """A stream of so many requests whose replies find no window: this peer gives none, and keeps to the other's."""
    async with connected(port) as peer:
        await peer.send(frame(SETTINGS, NO_WINDOW))
        headers = frame(HEADERS, header_block(call_headers(STREAM)), stream=1, flags=END_HEADERS)
        await peer.send(headers)
        body = message(infer_request(IMAGES[:1].reshape(1, 784), model=MODEL).SerializeToString())
        sending = asyncio.create_task(_send_all(peer, body, requests))
        try:
            yield peer
        finally:
            sending.cancel()
            await asyncio.wait([sending])


async def _send_all(peer: Peer, body: bytes, requests: int) -> None:
    for _ in range(requests):
        if not await peer.body(1, body, is_whole=False):
            return


@asynccontextmanager
async def idle(port: int, connections: int) -> AsyncIterator[None]:
    """So many connections past HTTP/2's greeting that do nothing."""
    async with AsyncExitStack() as held:
        for _ in range(connections):
            peer = held.enter_context(socket.socket())
            peer.setblocking(False)  # noqa: FBT003 - as the standard library has it
            await asyncio.get_running_loop().sock_connect(peer, ("127.0.0.1", port))
            peer.send(PREFACE + frame(SETTINGS))
        yield


async def misbehave(port: int, chance: random.Random) -> None:
    """Begin with something, then reset, close half, or leave."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(chance.choice([*FIRST_BYTES, chance.randbytes(400)]))
    how = chance.randrange(3)
    if how == 0:
        peer: socket.socket = writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    elif how == 1 and writer.can_write_eof():
        writer.write_eof()
        await asyncio.wait([asyncio.ensure_future(reader.read(1000))], timeout=0.1)
    writer.close()


@asynccontextmanager
async def sends_and_reads_nothing(port: int, requests: int) -> AsyncIterator[None]:
    """So many requests over HTTP, all at once, with large answers that nobody reads."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    sending = asyncio.create_task(
        _write_all(writer, b"GET /openapi.json HTTP/1.1\r\nHost: gateway\r\n\r\n", requests)
    )
    try:
        yield
    finally:
        sending.cancel()
        await asyncio.wait([sending])
        writer.transport.abort()
        reader.feed_eof()


async def _write_all(writer: asyncio.StreamWriter, content: bytes, times: int) -> None:
    for _ in range(times):
        writer.write(content)
        try:
            await writer.drain()
        except ConnectionError:
            return
