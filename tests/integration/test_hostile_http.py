"""HTTP/1.1 as no client speaks it, against the HTTP port: framing that lies, and too many connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from seqserve.gateway import Gateway
from seqserve.http_api.connection import MAX_HEAD_BYTES
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.memory import MIB, python_peak
from support.rest import INFER, infer_document

BODY = json.dumps(infer_document()).encode()
TIMEOUT_SECONDS = 30.0
HUGE = [b"7FFFFFFFFFFFFFFF", b"FFFFFFFFFFFFFFFF", b"F" * 20, b"F" * 1000, b"-1", b"0x10", b""]


class Bare:
    """A connection without a client library."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, content: bytes) -> None:
        self._writer.write(content)
        await self._writer.drain()

    async def code(self) -> int:
        """The status of the next answer."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return int((await self._reader.readline()).split()[1])

    async def answer(self) -> tuple[int, bytes]:
        """The next answer: its status and body."""
        code, length = await self.code(), 0
        while (line := await self._reader.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split()[1])
        return code, await self._reader.readexactly(length)

    async def rest(self) -> bytes:
        """What comes until the other side closes."""
        came = b""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while piece := await self._reader.read(1024):
                    came += piece
        except ConnectionError:
            pass
        return came


@asynccontextmanager
async def dialled(gateway: Gateway) -> AsyncIterator[Bare]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.http_port)
    try:
        yield Bare(reader, writer)
    finally:
        writer.close()


@pytest.fixture
async def hurried(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[Gateway]:
    """A gateway that waits for no body longer than a moment."""
    async with running_gateway([make_archive(tmp_path)], engine, default_timeout_seconds=0.3) as gateway:
        yield gateway


def head(*fields: str, path: str = INFER, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: gateway", *fields, "", ""]).encode()


async def answers(gateway: Gateway) -> bool:
    async with dialled(gateway) as neighbour:
        await neighbour.send(head(f"Content-Length: {len(BODY)}") + BODY)
        return await neighbour.code() == 200


@pytest.mark.parametrize("size", HUGE, ids=lambda size: size[:20].decode() or "none")
async def test_no_chunk_takes_memory_before_it_comes(hurried: Gateway, size: bytes) -> None:
    """Chunk headers that lie; the peers' CVE-2025-23310 and CVE-2025-23311 (Triton, chunked bodies)."""
    with python_peak() as peak:
        async with dialled(hurried) as bare:
            await bare.send(head("Transfer-Encoding: chunked") + size + b"\r\n" + BODY)
            assert await bare.code() in {400, 504}

    assert peak.bytes < MIB
    async with dialled(hurried) as neighbour:
        await neighbour.send(head(path="/healthz", method="GET"))
        assert await neighbour.code() == 200


@pytest.mark.parametrize("framing", [f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked"])
async def test_a_body_that_does_not_come_ends_its_request(hurried: Gateway, framing: str) -> None:
    """Slowloris, behind the head."""
    async with dialled(hurried) as bare:
        await bare.send(head(framing) + (b"%x\r\n" % len(BODY) if "chunked" in framing else b"") + BODY[:9])
        code, words = await bare.answer()

    assert code == 504
    assert b"the body was not there and read within 0.3 s" in words


async def test_a_chunk_extension_without_end_is_refused(gateway: Gateway) -> None:
    """Chunk headers: extensions, which no server here reads."""
    with python_peak() as peak:
        async with dialled(gateway) as bare:
            await bare.send(head("Transfer-Encoding: chunked") + b"1;" + b"x" * (2 * MAX_HEAD_BYTES))
            assert await bare.code() == 400

    assert peak.bytes < MIB
    assert await answers(gateway)


async def test_a_body_in_pieces_of_one_byte_is_one_body(gateway: Gateway) -> None:
    """Many chunks: CVE-2025-23310 again, where each took its share of a stack."""
    body = BODY + b" " * 20_000
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    async with dialled(gateway) as bare:
        await bare.send(head("Transfer-Encoding: chunked") + chunks)
        code, reply = await bare.answer()

    assert code == 200
    assert json.loads(reply)["outputs"][0]["shape"] == [1, 2]


@pytest.mark.parametrize(
    ("length", "code"), [("99999999999999999", 413), ("9" * 21, 400), ("9" * 5000, 400), ("-1", 400), ("1e9", 400), ("+5", 400)],
    ids=["large", "21 digits", "5000 digits", "negative", "float", "sign"],
)  # fmt: skip
async def test_a_length_without_a_body_is_refused_at_once(gateway: Gateway, length: str, code: int) -> None:
    """Allocation by Content-Length."""
    with python_peak() as peak:
        async with dialled(gateway) as bare:
            await bare.send(head(f"Content-Length: {length}"))
            assert await bare.code() == code

    assert peak.bytes < MIB


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    ],
)
async def test_what_has_two_lengths_is_refused_and_nothing_behind_it_is_read(
    gateway: Gateway, fields: tuple[str, ...]
) -> None:
    """Request smuggling: what follows such a head is never answered as a request of its own."""
    async with dialled(gateway) as bare:
        await bare.send(head(*fields) + b"0\r\n\r\n" + head(path="/healthz", method="GET"))
        came = await bare.rest()

    assert came.startswith(b"HTTP/1.1 400 ")
    assert came.count(b"HTTP/1.1") == 1


async def test_connections_beyond_the_limit_are_closed_and_the_others_go_on(
    tmp_path: Path, engine: FakeEngine
) -> None:
    """Connections without end; slow ones are in test_rest.py (a head that does not come)."""
    probe = head(path="/healthz", method="GET")
    async with (
        running_gateway([make_archive(tmp_path)], engine, max_http_connections=3) as gateway,
        AsyncExitStack() as held,
        dialled(gateway) as prober,
    ):
        await prober.send(probe)
        assert (await prober.answer())[0] == 200
        first = await held.enter_async_context(dialled(gateway))
        async with dialled(gateway) as leaving:
            for one in (first, leaving):  # so that they are there
                await one.send(probe)
                assert (await one.answer())[0] == 200
            for _ in range(5):
                async with dialled(gateway) as beyond:
                    assert await beyond.rest() == b""
            await prober.send(probe + head(path="/metrics", method="GET"))
            assert (await prober.answer())[0] == 200
            code, metrics = await prober.answer()
        after = await until_answered(gateway)

    assert code == 200
    assert b"seqserve_refused_connections_total 5.0" in metrics
    assert after == 200


async def until_answered(gateway: Gateway) -> int:
    """Dial until somebody answers: whoever left has to be noticed first."""
    async with asyncio.timeout(TIMEOUT_SECONDS), httpx.AsyncClient() as http:
        while True:
            try:
                return (await http.get(f"http://127.0.0.1:{gateway.http_port}/healthz")).status_code
            except httpx.TransportError:
                await asyncio.sleep(0)
