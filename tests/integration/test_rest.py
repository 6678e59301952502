"""The HTTP port over real connections: callers who leave, dawdle or send too much, and the drain."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest

from seqserve.gateway import Gateway
from seqserve.http_api import connection
from support.archives import make_archive
from support.engines import FakeEngine, expected_answers
from support.gateway import running_gateway
from support.oip import infer_request, inference_stub, rows_of
from support.rest import IMAGE, INFER, answers_of, binary, infer_document
from support.running import until

BODY = json.dumps(infer_document()).encode()


@asynccontextmanager
async def dialled(gateway: Gateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection to the HTTP port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.http_port)
    try:
        yield reader, writer
    finally:
        writer.close()


def head(*fields: str) -> bytes:
    """The head of an inference request."""
    return "\r\n".join([f"POST {INFER} HTTP/1.1", "Host: gateway", *fields, "", ""]).encode()


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}", timeout=20) as client:
        yield client


async def queued(gateway: Gateway, examples: int) -> None:
    """Return when so many examples wait for a batch."""
    batcher = gateway.repository.resolve("tiny", "").batcher
    await until(lambda: batcher.queued_examples == examples)


async def test_rest_and_grpc_give_the_same_answer(http: httpx.AsyncClient, channel: grpc.aio.Channel) -> None:
    rows = np.random.default_rng(0).random((5, 6), np.float32)
    over_grpc = rows_of(await inference_stub(channel).ModelInfer(infer_request(rows)))
    body, headers = binary(infer_document(rows, parameters={"binary_data_output": True}), rows.tobytes())

    in_json = answers_of(await http.post(INFER, json=infer_document(rows)))
    in_bytes = answers_of(await http.post(INFER, content=body, headers=headers))

    np.testing.assert_array_equal(in_json, over_grpc)
    np.testing.assert_array_equal(in_bytes, over_grpc)


async def test_a_body_of_many_chunks_is_put_together(http: httpx.AsyncClient) -> None:
    body, headers = binary(infer_document(), IMAGE.tobytes())

    async def chunks() -> AsyncIterator[bytes]:
        for byte in body:
            yield bytes([byte])

    reply = await http.post(INFER, content=chunks(), headers=headers)

    np.testing.assert_array_equal(answers_of(reply), expected_answers(IMAGE, 2))


async def test_a_long_json_body_is_answered(http: httpx.AsyncClient) -> None:
    rows = np.full((1024, 6), 0.25, np.float32)
    reply = await http.post(INFER, json=infer_document(rows))
    np.testing.assert_array_equal(answers_of(reply), expected_answers(rows, 2))


async def test_the_request_of_a_caller_who_left_never_reaches_the_model(
    gateway: Gateway, http: httpx.AsyncClient, engine: FakeEngine
) -> None:
    engine.batches.clear()
    engine.hold()
    first = asyncio.create_task(http.post(INFER, content=BODY))
    await engine.entered.wait()
    async with dialled(gateway) as (_, writer):
        writer.write(head(f"Content-Length: {len(BODY)}") + BODY)
        await queued(gateway, 1)
    await queued(gateway, 0)
    engine.gate.set()

    assert (await first).status_code == 200
    assert engine.batches == [1]
    text = (await http.get("/metrics")).text
    assert 'seqserve_requests_total{code="CANCELLED",model="tiny",version="1"} 1.0' in text


async def test_a_caller_who_leaves_in_the_middle_of_a_body_harms_nobody(
    gateway: Gateway, http: httpx.AsyncClient
) -> None:
    async with dialled(gateway) as (_, writer):
        writer.write(head(f"Content-Length: {len(BODY)}") + BODY[:20])
        await writer.drain()
    assert (await http.post(INFER, content=BODY)).status_code == 200


@pytest.mark.parametrize("framing", ["Content-Length: 99999999", "Transfer-Encoding: chunked"])
async def test_a_body_without_end_is_refused_and_its_connection_closed(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, framing: str
) -> None:
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 0.05)
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.05)
    async with (
        running_gateway([make_archive(tmp_path)], engine, max_message_bytes=2048) as gateway,
        dialled(gateway) as (reader, writer),
    ):
        writer.write(head(framing))
        sending = asyncio.create_task(_send_for_ever(writer))
        status, received = await reader.readline(), await _read_to_the_end(reader)
        sending.cancel()

    assert status.split()[1] == b"413"
    assert b"MESSAGE_TOO_LARGE" in received


async def _send_for_ever(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0.001)


async def _read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other side has closed, in whichever way."""
    received = b""
    try:
        while chunk := await reader.read(1024):
            received += chunk
    except ConnectionError:
        pass
    return received


@pytest.mark.parametrize("sent", [b"", b"POST /v2", head("X-Slow: yes")[:-2]])
async def test_a_head_that_does_not_come_ends_its_connection(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.05)
    async with dialled(gateway) as (reader, writer):
        writer.write(sent)
        assert await reader.read() == b""


async def test_a_request_that_takes_longer_than_a_head_may_is_answered(
    gateway: Gateway, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.05)
    engine.hold()
    async with dialled(gateway) as (reader, writer):
        writer.write(head(f"Content-Length: {len(BODY)}") + BODY)
        await engine.entered.wait()
        await asyncio.sleep(0.1)
        engine.gate.set()
        assert (await reader.readline()).split()[1] == b"200"


async def test_probes_and_metrics_answer_while_every_inference_waits(
    gateway: Gateway, http: httpx.AsyncClient, engine: FakeEngine
) -> None:
    engine.hold()
    async with httpx.AsyncClient(base_url=http.base_url, timeout=20, limits=httpx.Limits()) as callers:
        calls = [asyncio.create_task(callers.post(INFER, content=BODY))]
        await engine.entered.wait()
        calls += [asyncio.create_task(callers.post(INFER, content=BODY)) for _ in range(150)]
        await queued(gateway, 150)
        codes = [(await http.get(path)).status_code for path in ("/healthz", "/readyz", "/metrics")]
        engine.gate.set()
        answered = {reply.status_code for reply in await asyncio.gather(*calls)}

    assert codes == [200, 200, 200]
    assert answered == {200}


async def test_a_full_queue_says_when_to_come_back(tmp_path: Path, engine: FakeEngine) -> None:
    limits = {"max_queue_size": 1, "max_request_examples": 1}
    async with (
        running_gateway([make_archive(tmp_path)], engine, **limits) as gateway,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as http,
    ):
        engine.hold()
        calls = [asyncio.create_task(http.post(INFER, content=BODY))]
        await engine.entered.wait()
        calls.append(asyncio.create_task(http.post(INFER, content=BODY)))
        await queued(gateway, 1)
        refused = await http.post(INFER, content=BODY)
        engine.gate.set()
        await asyncio.gather(*calls)

    assert (refused.status_code, refused.json()["reason"]) == (429, "OVERLOADED")
    assert int(refused.headers["retry-after"]) >= 1


async def test_a_drain_answers_what_is_in_flight_and_refuses_what_comes(
    tmp_path: Path, engine: FakeEngine
) -> None:
    async with (
        running_gateway([make_archive(tmp_path)], engine) as gateway,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}", timeout=20) as http,
    ):
        engine.hold()
        in_flight = asyncio.create_task(http.post(INFER, content=BODY))
        await engine.entered.wait()
        draining = asyncio.create_task(gateway.drain())
        while (refused := await _infer_or_leave(http)) is None:
            pass
        ready = await http.get("/v2/health/ready")
        engine.gate.set()
        await draining

    assert (await in_flight).status_code == 200
    assert (refused.status_code, refused.json()["reason"]) == (503, "SHUTTING_DOWN")
    assert ready.status_code == 503


async def _infer_or_leave(http: httpx.AsyncClient) -> httpx.Response | None:
    """The answer, or None where the request is only queued."""
    try:
        return await http.post(INFER, content=BODY, timeout=0.2)
    except httpx.TimeoutException:
        return None


async def test_models_are_loaded_and_unloaded_where_administration_is_on(
    tmp_path: Path, engine: FakeEngine
) -> None:
    async with (
        running_gateway([make_archive(tmp_path)], engine, admin_on_inference_port=True) as gateway,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as http,
    ):
        assert "model_repository" in (await http.get("/v2")).json()["extensions"]
        assert (await http.post("/v2/repository/models/tiny/unload")).status_code == 200
        gone = await http.post(INFER, content=BODY)
        assert (await http.post("/v2/repository/models/tiny/load")).status_code == 200
        index = (await http.post("/v2/repository/index")).json()
        back = await http.post(INFER, content=BODY)

    assert (gone.status_code, gone.json()["reason"]) == (503, "MODEL_NOT_READY")
    assert index == [{"name": "tiny", "version": "1", "state": "READY", "reason": ""}]
    assert back.status_code == 200


async def test_a_model_named_as_the_statistics_of_all_is_reached_by_its_version(
    tmp_path: Path, engine: FakeEngine
) -> None:
    async with (
        running_gateway([make_archive(tmp_path, "stats")], engine) as gateway,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}/v2/models") as http,
    ):
        of_all = (await http.get("/stats")).json()
        metadata = (await http.get("/stats/versions/1")).json()
        answer = await http.post("/stats/infer", content=BODY)

    assert [counters["name"] for counters in of_all["model_stats"]] == ["stats"]
    assert (metadata["name"], metadata["versions"]) == ("stats", ["1"])
    assert answer.status_code == 200


async def test_what_is_no_http_is_refused(gateway: Gateway) -> None:
    async with dialled(gateway) as (reader, writer):
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        assert b" 400 " in await reader.readline()


async def test_a_head_that_is_too_long_is_refused(gateway: Gateway) -> None:
    async with dialled(gateway) as (reader, writer):
        writer.write(head(f"X-Long: {'x' * connection.MAX_HEAD_BYTES}"))
        assert b" 400 " in await reader.readline()
