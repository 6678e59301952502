"""HTTP callers who are slow to read their answer, over TLS."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from seqserve.certificates import Certificates, TlsFiles
from seqserve.http_api import connection
from seqserve.http_api.limits import HttpLimits
from seqserve.http_api.listener import HttpListener
from seqserve.http_api.tls import Tls
from support.certificates import Authority
from support.rest import INFER, Port, infer_document
from support.tls import HOST, SECONDS, Caller

LIMIT_BYTES = 2**24
ECHOED = "x" * (LIMIT_BYTES * 3 // 4)
"""An id that comes back with the answer, longer than what the system's own buffers take."""


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[asyncio.StreamReader]:
    """Of somebody who has asked for a long answer, and has read nothing yet."""
    authority = Authority.made()
    files = TlsFiles(*authority.issue().write(tmp_path))
    port = Port(limits=HttpLimits(LIMIT_BYTES, 30.0, buffered_bodies=1))
    listener = HttpListener(await port.app(tmp_path), Tls(Certificates(files, lambda _: None), SECONDS))
    number = await listener.start(HOST, 0)
    try:
        async with asked(number, Caller(authority.pem)) as asking:
            yield asking
    finally:
        await listener.stop()


@asynccontextmanager
async def asked(number: int, caller: Caller) -> AsyncIterator[asyncio.StreamReader]:
    plain = socket.create_connection((HOST, number))
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**17)
    reader, writer = await asyncio.open_connection(
        sock=plain, ssl=caller.context, server_hostname=HOST, limit=4096
    )
    body = json.dumps(infer_document(id=ECHOED)).encode()
    head = (
        f"POST {INFER} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    try:
        writer.write(head.encode() + body)
        await writer.drain()
        yield reader
    finally:
        writer.transport.abort()


async def test_a_long_answer_comes_whole_before_the_connection_closes(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(SECONDS):
        await reader.readuntil(b"\r\n\r\n")
        answer = await reader.read(-1)
    assert json.loads(answer)["id"] == ECHOED


async def test_who_does_not_read_is_dropped_after_a_while(
    monkeypatch: pytest.MonkeyPatch, reader: asyncio.StreamReader
) -> None:
    monkeypatch.setattr(connection, "REPLY_SECONDS", 0.2)
    # A reader that is full takes no more from the system until somebody reads: only time can pass.
    await asyncio.sleep(1.0)
    async with asyncio.timeout(SECONDS):
        received = await reader.read(-1)
    assert 0 < len(received) < len(ECHOED)
