"""HTTP callers who do not read their answer."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx
import pytest

from seqserve.http_api import connection
from seqserve.http_api.limits import HttpLimits
from seqserve.http_api.listener import HttpListener
from support.rest import INFER, Port, infer_document

LIMIT_BYTES = 2**24
ECHOED = "x" * (LIMIT_BYTES * 3 // 4)
"""An id that comes back with the answer, longer than what the system's own buffers take."""


@asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[tuple[HttpListener, int]]:
    """A gateway's HTTP port that holds the bytes of one largest body, and its number."""
    port = Port(limits=HttpLimits(LIMIT_BYTES, 30.0, buffered_bodies=1))
    listener = HttpListener(await port.app(folder))
    number = await listener.start("127.0.0.1", 0)
    try:
        yield listener, number
    finally:
        await listener.stop()


async def ask(asking: socket.socket, number: int) -> None:
    """Send a request whose answer is long, and read nothing."""
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    asking.settimeout(0)
    body = json.dumps(infer_document(id=ECHOED)).encode()
    head = f"POST {INFER} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    await loop.sock_connect(asking, ("127.0.0.1", number))
    await loop.sock_sendall(asking, head + body)


async def code_comes(http: httpx.AsyncClient, code: int) -> httpx.Response:
    """Ask until the answer is that one."""
    async with asyncio.timeout(30):
        while (reply := await http.post(INFER, json=infer_document())).status_code != code:
            pass
    return reply


async def test_an_answer_counts_until_it_is_read_and_is_given_up_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "REPLY_SECONDS", 1.0)
    with closing(socket.socket()) as asking:
        async with (
            listening(tmp_path) as (_, number),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{number}") as http,
        ):
            await ask(asking, number)
            refused = await code_comes(http, 429)
            await code_comes(http, 200)
        received = await received_by(asking)

    assert "no room" in refused.json()["error"]
    assert 0 < len(received) < len(ECHOED)


async def test_a_stop_does_not_wait_for_who_does_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(socket.socket()) as asking:
        async with (
            listening(tmp_path) as (listener, number),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{number}") as http,
        ):
            await ask(asking, number)
            await code_comes(http, 429)
            await listener.stop()
        received = await received_by(asking)

    assert 0 < len(received) < len(ECHOED)
    assert not caplog.records


async def received_by(asking: socket.socket) -> bytes:
    """What has come before the other side closed."""
    loop, received = asyncio.get_running_loop(), bytearray()
    try:
        while chunk := await loop.sock_recv(asking, 2**20):
            received += chunk
    except ConnectionError:
        pass
    return bytes(received)
