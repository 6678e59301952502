"""HTTP/2 as no client speaks it, against the gRPC port: floods and bombs; neighbours are answered on.

The defence is gRPC's core and the options in grpc_api/limits.py. A flood still costs the CPU time of its frames.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest

from seqserve.gateway import Gateway
from seqserve.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from support import http2
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.http2 import END_HEADERS, END_STREAM, Peer, call_headers, connected, frame, header_block
from support.memory import MIB, process_peak
from support.oip import infer_request, inference_stub, rows_of

INFER = "/inference.GRPCInferenceService/ModelInfer"
GOOD = infer_request(np.full((1, 2, 3), 0.25, np.float32))
CALL = header_block(call_headers(INFER))
TIMEOUT_SECONDS = 30.0
STANDSTILL_SECONDS = 0.5
MOST_TAKEN = 64 * MIB
"""Of a connection that is not read: what lies in the system's buffers of both sides, some 12 MiB here."""
SLACK = 48 * MIB
"""Of a process that makes the requests, reads the replies and runs the gateway."""


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> GRPCInferenceServiceStub:
    return inference_stub(channel)


async def answers(stub: GRPCInferenceServiceStub) -> bool:
    return len(rows_of(await stub.ModelInfer(GOOD, timeout=TIMEOUT_SECONDS))) == 1


@asynccontextmanager
async def reading(gateway: Gateway) -> AsyncIterator[tuple[Peer, asyncio.Task[list[http2.Frame]]]]:
    """A connection that is read all the time, and the task that ends with it."""
    async with connected(gateway.grpc_port) as peer:
        task = asyncio.create_task(peer.read_all())
        try:
            yield peer, task
        finally:
            task.cancel()


def call(stream: int) -> bytes:
    """A whole one."""
    body = http2.message(GOOD.SerializeToString())
    head = frame(http2.HEADERS, CALL, stream=stream, flags=END_HEADERS)
    return head + frame(http2.DATA, body, stream=stream, flags=END_STREAM)


def calls_taken_back(first: int, count: int) -> bytes:
    """Whole calls, each behind it its RST_STREAM."""
    streams = range(first, first + 2 * count, 2)
    return b"".join(call(stream) + http2.reset(stream) for stream in streams)


@pytest.mark.parametrize("bursts", [40, pytest.param(1000, marks=pytest.mark.long)])
async def test_calls_that_are_taken_back_at_once_reach_no_batch(
    gateway: Gateway, stub: GRPCInferenceServiceStub, engine: FakeEngine, bursts: int, front: str
) -> None:
    """Rapid reset, CVE-2023-44487. Under a long flood the native front's gRPC takes memory for a while."""
    assert await answers(stub)
    engine.batches.clear()
    with process_peak() as peak:
        async with reading(gateway) as (peer, _):
            for burst in range(bursts):
                await peer.send(calls_taken_back(1 + 200 * burst, 100))
                assert await answers(stub)
                peer.frames.clear()  # or the peak would be what the fronts said

    assert len(engine.batches) <= bursts * 1.02  # one that was quicker than its reset is no harm
    assert peak.bytes < SLACK or (front == "native" and bursts > 40)


async def test_calls_that_are_taken_back_out_of_the_queue_reach_no_batch(
    gateway: Gateway, stub: GRPCInferenceServiceStub, engine: FakeEngine
) -> None:
    """The same, of a caller that waits until each has cost a place in the queue."""
    streams = range(1, 100, 2)
    engine.hold()
    first = asyncio.create_task(answers(stub))
    await engine.entered.wait()
    async with reading(gateway) as (peer, _):
        await peer.send(b"".join(map(call, streams)))
        await until_queued(gateway, len(streams))
        await peer.send(b"".join(map(http2.reset, streams)))
        await until_queued(gateway, 0)
    engine.gate.set()
    assert await first
    assert await answers(stub)

    assert engine.batches[-2:] == [1, 1]


async def until_queued(gateway: Gateway, count: int) -> None:
    """Look at the metrics until so many examples wait."""
    wanted = f'seqserve_queued_examples{{model="tiny",version="1"}} {count}.0\n'
    async with asyncio.timeout(TIMEOUT_SECONDS), httpx.AsyncClient() as http:
        while wanted not in (await http.get(f"http://127.0.0.1:{gateway.http_port}/metrics")).text:
            pass


async def test_headers_without_end_are_not_gathered(
    gateway: Gateway, stub: GRPCInferenceServiceStub, front: str
) -> None:
    """CONTINUATION flood, as in CVE-2023-45288. The native front's gRPC ends the connection."""
    more = frame(http2.CONTINUATION, header_block([(b"x-flood", b"v" * 16_000)]), stream=1) * 4
    assert await answers(stub)
    with process_peak() as peak:
        async with connected(gateway.grpc_port) as peer, asyncio.timeout(TIMEOUT_SECONDS):
            await peer.send(frame(http2.HEADERS, CALL, stream=1))
            for _ in range(8 * MIB // len(more)):
                await peer.send(more)
            await peer.until_over(1)  # of what is gathered nobody hears, since their end has not come
            assert await answers(stub)
            is_told = b"grpc-status\x018" in headers_of(peer)  # RESOURCE_EXHAUSTED
            assert is_told or (front == "native" and await peer.read() is None)

    assert peak.bytes < SLACK


def headers_of(peer: Peer) -> bytes:
    """All that came."""
    return b"".join(came.content for came in peer.frames if came.kind == http2.HEADERS)


async def test_settings_whose_acknowledgements_nobody_reads_are_not_taken_for_ever(
    gateway: Gateway, stub: GRPCInferenceServiceStub
) -> None:
    """SETTINGS flood, CVE-2019-9515."""
    some = frame(http2.SETTINGS, struct.pack(">HI", http2.INITIAL_WINDOW_SIZE, 2**16 - 1)) * 10_000
    assert await answers(stub)
    with process_peak() as peak:
        async with connected(gateway.grpc_port) as peer:
            taken = await flood(peer, some)
            assert await answers(stub)  # it was not busy with what it took
            more = await flood(peer, some)

    assert len(some) <= taken < MOST_TAKEN
    assert more == 0
    assert peak.bytes < SLACK


async def flood(peer: Peer, content: bytes) -> int:
    """Send it until the other side stands still or is gone; how many bytes were taken. Bounded by MOST_TAKEN."""
    taken = 0
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while taken < MOST_TAKEN and await is_taken(peer, content):
            taken += len(content)
    return taken


async def is_taken(peer: Peer, content: bytes) -> bool:
    try:
        async with asyncio.timeout(STANDSTILL_SECONDS):
            return await peer.send(content)
    except TimeoutError:
        return False


async def test_who_pings_without_end_is_disconnected(
    gateway: Gateway, stub: GRPCInferenceServiceStub
) -> None:
    """Ping flood, CVE-2019-9512."""
    sent = 0
    async with reading(gateway) as (peer, end):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not end.done():
                await peer.send(frame(http2.PING, bytes(8)))
                sent += 1
                await asyncio.sleep(0.01)
        frames = await end
    assert await answers(stub)

    (goodbye,) = [came for came in frames if came.kind == http2.GOAWAY]
    assert goodbye.error_code == http2.ENHANCE_YOUR_CALM
    assert b"too_many_pings" in goodbye.content
    assert sent < 100  # gRPC takes 2 too many


@pytest.mark.parametrize(
    "sent", [b"", http2.PREFACE[:10], http2.PREFACE], ids=["nothing", "half", "no settings"]
)
async def test_a_connection_that_does_not_introduce_itself_is_closed(
    tmp_path: Path, engine: FakeEngine, sent: bytes
) -> None:
    """Slowloris on gRPC."""
    async with running_gateway([make_archive(tmp_path)], engine, handshake_timeout_seconds=0.3) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.grpc_port)
        writer.write(sent)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await until_closed(reader)
        writer.close()


async def until_closed(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(1024):
            pass
    except ConnectionError:
        pass


def bomb(mebibytes: int) -> bytes:
    """A gzip file of zeros: each MiB of them takes 1 KiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(MIB)
    piece = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(mebibytes):
        checksum = zlib.crc32(zeros, checksum)
    head, end = b"\x1f\x8b\x08" + bytes(7), packer.flush()
    return head + piece * mebibytes + end + struct.pack("<II", checksum, mebibytes * MIB % 2**32)


def test_the_bomb_is_a_bomb() -> None:
    assert len(bomb(32)) < 32 * 1200
    assert len(zlib.decompress(bomb(32), zlib.MAX_WBITS | 16)) == 32 * MIB


DECOMPRESSION = {
    "python": b"Decompressed message larger than max",
    "native": b"Compression algorithm 'gzip' is disabled",
}
"""What a front says of a message that inflates beyond the limit."""


async def test_a_message_that_inflates_beyond_the_limit_is_refused_before_it_has(
    gateway: Gateway, stub: GRPCInferenceServiceStub, front: str
) -> None:
    """Decompression bomb: 1 MiB that inflates to 1 GiB."""
    headers = header_block(call_headers(INFER, (b"grpc-encoding", b"gzip")))
    message = http2.message(bomb(1024), is_compressed=True)
    assert await answers(stub)
    with process_peak() as peak:
        async with connected(gateway.grpc_port) as peer:
            await peer.send(frame(http2.HEADERS, headers, stream=1, flags=END_HEADERS))
            await peer.body(1, message)
            await peer.until_over(1)
    assert await answers(stub)

    assert DECOMPRESSION[front] in headers_of(peer)
    assert peak.bytes < SLACK


async def test_compressed_messages_within_the_limit_are_answered_by_the_python_front_alone(
    channel: grpc.aio.Channel, front: str
) -> None:
    zeros = infer_request(np.zeros((512, 2, 3), np.float32))
    stub = inference_stub(channel)
    if front == "python":
        reply = await stub.ModelInfer(zeros, compression=grpc.Compression.Gzip)
        assert rows_of(reply).shape == (512, 2)
        return
    with pytest.raises(grpc.aio.AioRpcError, match="gzip") as refusal:
        await stub.ModelInfer(zeros, compression=grpc.Compression.Gzip)
    assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert rows_of(await stub.ModelInfer(zeros)).shape == (512, 2)


async def test_a_path_that_is_no_text_leaves_others_their_server(
    gateway: Gateway, stub: GRPCInferenceServiceStub
) -> None:
    """Of grpc.aio's server such a path is the end; another one takes its place."""
    block = header_block(
        [(name, b"/\xff\xfe" if name == b":path" else value) for name, value in call_headers("/")]
    )
    assert await answers(stub)
    for _ in range(3):
        async with asyncio.timeout(TIMEOUT_SECONDS), connected(gateway.grpc_port) as peer:
            await peer.send(frame(http2.HEADERS, block, stream=1, flags=END_HEADERS | END_STREAM))
            await peer.until_over(1)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not await is_answered(stub):
                pass


async def is_answered(stub: GRPCInferenceServiceStub) -> bool:
    """Calls of the moment in which a server ends are lost with it."""
    try:
        return len(rows_of(await stub.ModelInfer(GOOD, wait_for_ready=True))) == 1
    except grpc.aio.AioRpcError as lost:
        if lost.code() not in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}:
            raise
        return False
