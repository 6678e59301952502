"""What probes, load balancers and Prometheus see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from seqserve.gateway import Gateway
from seqserve.metrics.table import GPU, TLS_CERTIFICATE_EXPIRY, rows
from seqserve.model_settings import ModelSettings
from seqserve.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway, settings_for_tests
from support.oip import infer_request, inference_stub, send_bytes, words_of
from support.running import LIMIT_SECONDS

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
ELSEWHERE = (*GPU, TLS_CERTIFICATE_EXPIRY)
"""Metrics that only a gateway with a GPU, or with TLS, serves."""
IMAGE = np.full((1, 2, 3), 0.25, np.float32)


async def health(channel: grpc.aio.Channel, service: str) -> int:
    reply = await HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    return int(reply.status)


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as client:
        yield client


async def test_health_knows_the_whole_the_services_and_the_models(channel: grpc.aio.Channel) -> None:
    names = [
        "",
        "liveness",
        "inference.GRPCInferenceService",
        "seqserve.v1.PredictionService",
        "model/tiny",
        "model/tiny/1",
    ]
    assert [await health(channel, name) for name in names] == [SERVING] * len(names)

    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await health(channel, "model/nobody")
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


async def test_before_the_load_the_gateway_lives_and_is_not_ready() -> None:
    gateway = Gateway(settings_for_tests())
    await gateway.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
            assert await health(channel, "liveness") == SERVING
            assert await health(channel, "") == NOT_SERVING
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as client:
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/readyz")).status_code == 503
    finally:
        await gateway.drain()


async def test_an_empty_store_is_live_and_not_ready(engine: FakeEngine) -> None:
    async with (
        running_gateway([], engine) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as client,
    ):
        assert await health(channel, "liveness") == SERVING
        assert await health(channel, "") == NOT_SERVING
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503


async def test_a_broken_archive_makes_its_model_not_ready_and_leaves_the_others(
    tmp_path: Path, engine: FakeEngine
) -> None:
    broken = make_archive(tmp_path, "broken")
    content = bytearray(broken.read_bytes())
    content[len(content) // 2] ^= 1
    broken.write_bytes(content)
    async with (
        running_gateway([broken, make_archive(tmp_path, "good")], engine) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
    ):
        assert await health(channel, "model/good") == SERVING
        assert await health(channel, "model/broken") == NOT_SERVING
        assert await health(channel, "") == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await inference_stub(channel).ModelInfer(infer_request(IMAGE, model="broken"))
        assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
        await inference_stub(channel).ModelInfer(infer_request(IMAGE, model="good"))


async def test_readyz_lists_the_models(http: httpx.AsyncClient) -> None:
    reply = await http.get("/readyz")

    assert reply.status_code == 200
    models = [{"name": "tiny", "version": "1", "state": "ready"}]
    assert reply.json() == {"ready": True, "models": models, "unanswered": {}}


async def test_readyz_says_whose_callers_are_not_answered_and_why(tmp_path: Path, engine: FakeEngine) -> None:
    labels = {"tiny": {"labels": {"stable": "7"}}}
    async with (
        running_gateway([make_archive(tmp_path)], engine, models=labels) as gateway,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as client,
    ):
        reply = await client.get("/readyz")

    assert reply.status_code == 503
    assert "'7'" in reply.json()["unanswered"]["tiny"]
    assert "label 'stable'" in reply.json()["unanswered"]["tiny"]


async def test_metrics_count_requests_by_code_and_not_the_golden_rows(
    http: httpx.AsyncClient, channel: grpc.aio.Channel
) -> None:
    stub = inference_stub(channel)
    for _ in range(3):
        await stub.ModelInfer(infer_request(IMAGE))
    for bad in (infer_request(IMAGE, name="pixels"), infer_request(IMAGE, model="made-up-by-a-caller")):
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.ModelInfer(bad)
    with pytest.raises(grpc.aio.AioRpcError):
        await send_bytes(channel, "/inference.GRPCInferenceService/ModelInfer", b"\xff")

    text = (await http.get("/metrics")).text

    assert 'seqserve_requests_total{code="OK",model="tiny",version="1"} 3.0' in text
    assert 'seqserve_requests_total{code="INVALID_ARGUMENT",model="tiny",version="1"} 1.0' in text
    assert 'seqserve_requests_total{code="NOT_FOUND",model="unknown",version="unknown"} 1.0' in text
    assert 'seqserve_requests_total{code="INVALID_ARGUMENT",model="unknown",version="unknown"} 1.0' in text
    assert "made-up" not in text
    assert 'seqserve_batch_examples_sum{model="tiny",version="1"} 3.0' in text
    assert 'seqserve_model_state{model="tiny",state="ready",version="1"} 1.0' in text


async def test_the_page_serves_what_the_docs_list_and_nothing_else(http: httpx.AsyncClient) -> None:
    """Prometheus' text format has no kind `info`: it serves those as gauges."""
    text = (await http.get("/metrics")).text

    served = [line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE ")]
    listed = [[row.name, row.kind.replace("info", "gauge")] for row in rows() if row not in ELSEWHERE]
    assert sorted(served) == sorted(listed)


async def test_every_phase_of_an_answered_request_is_measured_once(
    http: httpx.AsyncClient, channel: grpc.aio.Channel
) -> None:
    await inference_stub(channel).ModelInfer(infer_request(IMAGE))

    text = (await http.get("/metrics")).text

    for phase in ("request", "decode", "queue", "assembly", "compute", "encode"):
        assert f'seqserve_{phase}_seconds_count{{model="tiny",version="1"}} 1.0' in text
    assert 'seqserve_batches_total{model="tiny",reason="idle",version="1"} 1.0' in text


async def test_reloads_and_golden_checks_are_on_the_page(tmp_path: Path, engine: FakeEngine) -> None:
    archives = [make_archive(tmp_path)]
    models = {"tiny": ModelSettings.model_validate({"labels": {"stable": "1"}})}
    async with (
        running_gateway(archives, engine, models=models) as gateway,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as client,
    ):
        wrong = (np.full((1, 6), 0.5, np.float32), np.full((1, 2), 0.25, np.float32))
        archives.append(make_archive(tmp_path, version="2", golden=wrong))
        await gateway.sync()

        text = (await client.get("/metrics")).text

    assert 'seqserve_reloads_total{model="tiny",result="loaded"} 1.0' in text
    assert 'seqserve_reloads_total{model="tiny",result="refused"} 1.0' in text
    assert 'seqserve_golden_checks_total{model="tiny",result="passed",version="1"} 1.0' in text
    assert 'seqserve_golden_checks_total{model="tiny",result="failed",version="2"} 1.0' in text
    assert 'seqserve_golden_delta{model="tiny",version="1"} 0.0' in text
    assert 'seqserve_model_state{model="tiny",state="failed",version="2"} 1.0' in text
    assert 'seqserve_ready_versions{model="tiny"} 1.0' in text
    assert 'seqserve_model_label{label="stable",model="tiny",version="1"} 1.0' in text
    assert 'engine="fake"' in text


async def test_health_forgets_a_version_that_has_left(tmp_path: Path, engine: FakeEngine) -> None:
    archives = [make_archive(tmp_path), make_archive(tmp_path, version="2")]
    async with (
        running_gateway(archives, engine) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
    ):
        watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="model/tiny/1"), timeout=10)
        assert (await watch.read()).status == SERVING

        await gateway.apply(settings_for_tests(version_policy="latest:1"))
        await gateway.sync()

        while (status := (await watch.read()).status) == NOT_SERVING:  # while it was unloaded
            pass
        assert status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await health(channel, "model/tiny/1")
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        assert await health(channel, "model/tiny") == SERVING
        assert await health(channel, "") == SERVING


async def test_a_reload_that_fails_later_leaves_the_whole_ready(tmp_path: Path, engine: FakeEngine) -> None:
    archives = [make_archive(tmp_path)]
    async with (
        running_gateway(archives, engine) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
    ):
        wrong = (np.full((1, 6), 0.5, np.float32), np.full((1, 2), 0.25, np.float32))
        archives.append(make_archive(tmp_path, "other", golden=wrong))
        await gateway.sync()

        assert await health(channel, "model/other") == NOT_SERVING
        assert await health(channel, "model/tiny") == SERVING
        assert await health(channel, "") == SERVING


async def test_reflection_lists_the_services(channel: grpc.aio.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    replies = [reply async for reply in call]

    names = {service.name for service in replies[0].list_services_response.service}
    assert {
        "inference.GRPCInferenceService",
        "seqserve.v1.PredictionService",
        "grpc.health.v1.Health",
    } <= names


async def test_without_its_engine_the_gateway_is_alive_and_not_ready(
    gateway: Gateway, channel: grpc.aio.Channel, http: httpx.AsyncClient
) -> None:
    await gateway.lose_engine()

    assert (await http.get("/readyz")).status_code == 503
    assert (await http.get("/healthz")).status_code == 200
    assert await health(channel, "") == NOT_SERVING
    assert await health(channel, "model/tiny/1") == NOT_SERVING
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await _infer(inference_stub(channel))
    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_of_messages_that_do_not_parse_only_those_that_ask_for_inference_count(
    channel: grpc.aio.Channel, http: httpx.AsyncClient
) -> None:
    oip, ours = "/inference.GRPCInferenceService/", "/seqserve.v1.PredictionService/"
    for method in (f"{oip}ModelInfer", f"{ours}Predict", f"{oip}ModelStatistics", f"{ours}ListModels"):
        with pytest.raises(grpc.aio.AioRpcError):
            await send_bytes(channel, method, b"\xff")
    for method in (f"{oip}ModelStreamInfer", f"{ours}PredictStream"):
        call = channel.stream_stream(method, None, None)(None)
        await call.write(b"\xff")
        await call.read()
        call.cancel()

    page = (await http.get("/metrics")).text
    assert 'seqserve_requests_total{code="INVALID_ARGUMENT",model="unknown",version="unknown"} 4.0' in page


@pytest.mark.parametrize("method", ["Check", "Watch"])
async def test_malformed_protobuf_to_health_is_an_invalid_argument(
    channel: grpc.aio.Channel, method: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await send_bytes(channel, f"/grpc.health.v1.Health/{method}", b"\xff")

    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "HealthCheckRequest" in words_of(refusal.value)


async def test_a_deadline_that_gRPC_enforces_is_counted_as_one(  # noqa: N802 - its name
    channel: grpc.aio.Channel, http: httpx.AsyncClient, engine: FakeEngine
) -> None:
    engine.hold()
    with pytest.raises(grpc.aio.AioRpcError):
        await inference_stub(channel).ModelInfer(infer_request(IMAGE), timeout=0.2)
    expired = 'code="DEADLINE_EXCEEDED",model="tiny",version="1"} 1.0'
    async with asyncio.timeout(LIMIT_SECONDS):  # the server hears of it a little later
        while expired not in (await http.get("/metrics")).text:  # noqa: ASYNC110 - a page sets no event
            await asyncio.sleep(0.01)
    engine.gate.set()


async def _infer(stub: GRPCInferenceServiceStub) -> object:
    return await stub.ModelInfer(infer_request(IMAGE), timeout=10)
