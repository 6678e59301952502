"""What ended or deafened old versions of gRPC, which the native front may be built with: see SECURITY.md."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from structlog.testing import capture_logs

from seqserve.gateway import Gateway
from seqserve.pb import inference_pb2 as pb
from seqserve.signature import Signature
from support import http2
from support.archives import make_archive
from support.contract import signature_document
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.http2 import END_HEADERS, END_STREAM, call_headers, connected, frame, header_block
from support.oip import infer_request, inference_stub, rows_of

GOOD = infer_request(np.full((1, 2, 3), 0.25, np.float32))
INFER = "/inference.GRPCInferenceService/ModelInfer"
LONG = (b"x-long", b"v" * 9000)
"""More than the 8 KB of headers that old versions take."""
WITHOUT_TE = [pair for pair in call_headers(INFER) if pair[0] != b"te"]
WITHOUT_SCHEME = [pair for pair in call_headers(INFER) if pair[0] != b":scheme"]
BAD_HEADERS = {
    "te": [*WITHOUT_TE, (b"te", b"x"), LONG],
    "scheme": [(b":scheme", b"x"), *WITHOUT_SCHEME, LONG],
    "balancer": [*call_headers(INFER), (b"grpclb_client_stats", b"x"), LONG],
}
FILE_SHORTAGE_SECONDS = 0.3
SECONDS = 20.0


@pytest.mark.parametrize("which", BAD_HEADERS)
async def test_headers_that_ended_old_versions_of_grpc_are_refused(
    gateway: Gateway, channel: grpc.aio.Channel, which: str
) -> None:
    """CVE-2023-1428: the process would be gone, and this test with it."""
    block = header_block(BAD_HEADERS[which])
    call = frame(http2.HEADERS, block, stream=1, flags=END_HEADERS)
    empty = frame(http2.DATA, http2.message(b""), stream=1, flags=END_STREAM)
    async with connected(gateway.grpc_port) as peer, asyncio.timeout(SECONDS):
        await peer.send(call + empty)
        await peer.until_over(1)

    assert b"grpc-status\x010" not in b"".join(came.content for came in peer.frames)
    assert len(rows_of(await inference_stub(channel).ModelInfer(GOOD))) == 1


@contextmanager
def no_more_files() -> Iterator[None]:
    """Nothing can be opened in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_connections_are_taken_again_once_there_are_files(gateway: Gateway) -> None:
    """CVE-2023-4785."""
    with ExitStack() as held:
        callers = [held.enter_context(socket.socket()) for _ in range(4)]
        with no_more_files():
            for caller in callers:
                caller.connect(("127.0.0.1", gateway.grpc_port))
            await asyncio.sleep(FILE_SHORTAGE_SECONDS)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
            reply = await inference_stub(channel).ModelInfer(GOOD, timeout=SECONDS, wait_for_ready=True)
    assert len(rows_of(reply)) == 1


async def test_a_version_whose_limits_take_too_much_memory_fails_and_the_others_serve(
    tmp_path: Path, engine: FakeEngine, front: str
) -> None:
    document = json.loads(signature_document("tiny_image"))
    document["input"]["shape"], document["max_batch_size"] = [-1, 65536], 1
    document["example_shapes"] = [{"shape": [65536], "layout": "flat"}]
    wide = make_archive(tmp_path, "wide", signature=Signature.parse(json.dumps(document).encode()))
    many = {"max_request_examples": 20000, "max_queue_size": 20000}
    with capture_logs() as logged:
        async with running_gateway([make_archive(tmp_path), wide], engine, **many) as gateway:
            [entry] = gateway.repository.versions_of("wide")
            async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
                assert len(rows_of(await inference_stub(channel).ModelInfer(GOOD))) == 1
    refused = [line["reason"] for line in logged if line["event"] == "model refused"]
    if front == "python":
        assert (entry.reason, refused) == ("", [])  # each request has its own memory there
        return
    assert entry.reason == "SETTINGS_INVALID"
    assert refused == [
        "max_request_examples: 20000; accepted for wide 1: at most 4095, which the native front has staging memory for"
    ]
    assert "wide/1" in engine.unloaded


@pytest.mark.parametrize("limit", ["MAX_PYTHON_CALLS", "LARGEST_MESSAGES"])
async def test_requests_that_are_refused_because_python_has_too_many_are_counted(
    tmp_path: Path, engine: FakeEngine, front: str, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    words = {"MAX_PYTHON_CALLS": "0 such calls at once", "LARGEST_MESSAGES": "holds 0 bytes"}[limit]
    if front != "native":
        pytest.skip("grpc.aio hands everything to Python")
    monkeypatch.setattr(f"seqserve.native_front.front.{limit}", 0)
    async with running_gateway([make_archive(tmp_path)], engine) as gateway:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
            for _ in range(3):
                with pytest.raises(grpc.aio.AioRpcError, match=words) as refusal:
                    await inference_stub(channel).ModelInfer(pb.ModelInferRequest(model_name="tiny"))
                assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as http:
            page = [(await http.get("/metrics")).text for _ in range(2)][-1]
    refused = 'seqserve_requests_total{code="RESOURCE_EXHAUSTED",model="unknown",version="unknown"} 3.0'
    assert refused in page
