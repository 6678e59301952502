"""A gateway whose engine is away for a while: what callers, probes and load balancers hear of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from seqserve.gateway import Gateway
from seqserve.pb.v1 import prediction_pb2
from support.archives import make_archive
from support.batching import settle
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.oip import details_of, infer_request, inference_stub, prediction_stub
from support.rest import IMAGE, INFER, infer_document

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
WRONG = np.array([[0.9, 0.1], [0.9, 0.1]], np.float32)


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as client:
        yield client


async def health(channel: grpc.aio.Channel, service: str) -> int:
    reply = await HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    return int(reply.status)


async def go_away(gateway: Gateway, name: str = "tiny", version: str = "1") -> None:
    gateway.engine_hooks.presence.note_away(name, version)
    await settle()


async def test_grpc_callers_are_told_at_once_when_to_come_again(
    gateway: Gateway, channel: grpc.aio.Channel
) -> None:
    await go_away(gateway)
    predict = prediction_pb2.PredictRequest(
        model="tiny", tensor=prediction_pb2.Tensor(datatype="FP32", shape=[1, 6], content=bytes(24))
    )
    for call in (
        inference_stub(channel).ModelInfer(infer_request(IMAGE)),
        prediction_stub(channel).Predict(predict),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call

        assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
        details = details_of(refusal.value)
        assert details["ErrorInfo"].reason == "ENGINE_UNAVAILABLE"
        assert details["RetryInfo"].retry_delay.ToSeconds() >= 1


async def test_rest_callers_are_told_at_once_when_to_come_again(
    gateway: Gateway, http: httpx.AsyncClient
) -> None:
    await go_away(gateway)
    reply = await http.post(INFER, json=infer_document())

    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) >= 1
    assert "being brought back" in reply.json()["error"]


async def test_probes_follow_it_away_and_back(
    gateway: Gateway, engine: FakeEngine, channel: grpc.aio.Channel, http: httpx.AsyncClient
) -> None:
    names = ["", "model/tiny", "model/tiny/1"]
    await go_away(gateway)
    assert [await health(channel, name) for name in names] == [NOT_SERVING] * 3
    ready = await http.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["models"] == [{"name": "tiny", "version": "1", "state": "stalled"}]
    assert (await http.get("/healthz")).status_code == 200

    engine.wrong = WRONG
    assert not await gateway.engine_hooks.presence.bring_back("tiny", "1")
    assert [await health(channel, name) for name in names] == [NOT_SERVING] * 3

    engine.wrong = None
    assert await gateway.engine_hooks.presence.bring_back("tiny", "1")
    assert [await health(channel, name) for name in names] == [SERVING] * 3
    assert (await http.get("/readyz")).status_code == 200
    await inference_stub(channel).ModelInfer(infer_request(IMAGE))


async def test_a_part_that_is_away_leaves_the_whole_ready(tmp_path: Path, engine: FakeEngine) -> None:
    archives = [make_archive(tmp_path), make_archive(tmp_path, "other")]
    async with (
        running_gateway(archives, engine) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
    ):
        await go_away(gateway)

        assert await health(channel, "") == SERVING
        assert await health(channel, "model/tiny") == NOT_SERVING
        assert await health(channel, "model/other") == SERVING
        await inference_stub(channel).ModelInfer(infer_request(IMAGE, model="other"))


# ---- receipts ----


@pytest.mark.parametrize("is_verified", [True, False])
async def test_a_receipt_names_the_archive_only_where_it_is_surely_what_ran(
    tmp_path: Path, *, is_verified: bool
) -> None:
    engine = FakeEngine(runs_verified_archives=is_verified)
    async with (
        running_gateway([make_archive(tmp_path)], engine) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as http,
    ):
        over_grpc = await inference_stub(channel).ModelInfer(infer_request(IMAGE))
        over_rest = await http.post(INFER, json=infer_document())
        tensor = prediction_pb2.Tensor(datatype="FP32", shape=[1, 6], content=bytes(24))
        ours = await prediction_stub(channel).Predict(
            prediction_pb2.PredictRequest(model="tiny", tensor=tensor)
        )

    digests = [
        over_grpc.parameters["seqserve_archive_sha256"].string_param if is_verified else "",
        over_rest.json()["parameters"].get("seqserve_archive_sha256", ""),
        ours.receipt.archive_sha256,
    ]
    assert len({*digests}) == 1
    assert len(digests[0]) == (64 if is_verified else 0)
    assert ("seqserve_archive_sha256" in over_grpc.parameters) is is_verified
    assert over_grpc.parameters["seqserve_engine"].string_param == "fake"


# ---- metrics of the engine's own ----


async def test_the_engines_own_metrics_come_after_ours(gateway: Gateway, http: httpx.AsyncClient) -> None:
    async def metrics() -> bytes:
        return b"# TYPE ts_up gauge\nts_up 1.0"

    before = (await http.get("/metrics")).text
    assert "ts_up" not in before
    gateway.engine_hooks.relay_metrics(metrics)
    reply = await http.get("/metrics")

    assert reply.headers["Content-Type"].startswith("text/plain")
    assert "seqserve_requests_total" in reply.text
    assert reply.text.endswith("\n# TYPE ts_up gauge\nts_up 1.0\n")
