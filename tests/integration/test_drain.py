"""What a drain does for callers, watchers and models."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from seqserve.gateway import Gateway
from seqserve.pb import inference_pb2 as pb
from seqserve.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway, settings_for_tests
from support.oip import details_of, infer_request, inference_stub
from support.running import until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
IMAGE = np.full((1, 2, 3), 0.25, np.float32)
JSON_IMAGE = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 6], "data": [0.25] * 6}]}


async def test_a_drain_tells_watchers_and_ends_their_streams(tmp_path: Path, engine: FakeEngine) -> None:
    async with running_gateway([make_archive(tmp_path)], engine) as gateway:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}")
        watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == SERVING
        draining = asyncio.create_task(gateway.drain())
        assert (await watch.read()).status == NOT_SERVING
        await draining
        await channel.close(None)


async def test_a_drain_answers_what_is_in_flight_and_refuses_what_comes(
    tmp_path: Path, engine: FakeEngine
) -> None:
    archive = make_archive(tmp_path)
    async with running_gateway([archive], engine, drain_pause_seconds=0.2) as gateway:
        engine.hold()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
            stub = inference_stub(channel)
            in_flight = [asyncio.create_task(_infer(stub)) for _ in range(8)]
            await engine.entered.wait()
            draining = asyncio.create_task(gateway.drain())
            await asyncio.sleep(0.4)  # past the pause, in which calls are still taken
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await _infer(stub)
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as http:
                refused = await http.post("/v2/models/tiny/infer", json=JSON_IMAGE)
            assert (refused.status_code, refused.json()["reason"]) == (503, "SHUTTING_DOWN")
            engine.gate.set()
            assert len(await asyncio.gather(*in_flight)) == 8
            await draining
    assert "tiny/1" in engine.unloaded


async def test_a_drain_gives_up_a_batch_that_never_ends(tmp_path: Path, engine: FakeEngine) -> None:
    gateway = Gateway(settings_for_tests(drain_grace_seconds=0.2))
    await gateway.start()
    archives = [make_archive(tmp_path)]
    await gateway.load(lambda: archives, engine)
    engine.hold()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
        call = asyncio.create_task(_infer(inference_stub(channel)))
        await engine.entered.wait()

        assert not await gateway.drain()

        with pytest.raises(grpc.aio.AioRpcError):
            await call


async def test_a_batch_that_does_not_end_is_told_although_its_version_has_left(
    tmp_path: Path, engine: FakeEngine, front: str
) -> None:
    if front == "python":
        pytest.skip("its batches run in the engine's threads, which the engine ends")
    gateway = Gateway(settings_for_tests(max_batch_seconds=0.05, admin_on_inference_port=True))
    await gateway.start()
    archives = [make_archive(tmp_path)]
    await gateway.load(lambda: archives, engine)
    engine.hold()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await _infer(inference_stub(channel))
        unload = pb.RepositoryModelUnloadRequest(model_name="tiny")
        await inference_stub(channel).RepositoryModelUnload(unload)
    await until(lambda: engine.unloaded == ["tiny/1"])

    assert not await gateway.drain()
    engine.gate.set()


async def test_callers_who_never_pause_are_answered_or_told_that_it_shuts_down(
    tmp_path: Path, engine: FakeEngine
) -> None:
    """GRPC alone would cancel what has arrived and has no handler yet, and that says nothing."""
    codes: Counter[str] = Counter()

    async def call(stub: GRPCInferenceServiceStub) -> None:
        for _ in range(2000):
            try:
                await _infer(stub)
            except grpc.aio.AioRpcError as error:
                codes[error.code().name] += 1
                return
            codes["OK"] += 1

    async with (
        running_gateway([make_archive(tmp_path)], engine, drain_pause_seconds=0.1) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
    ):
        callers = [asyncio.create_task(call(inference_stub(channel))) for _ in range(32)]
        while codes["OK"] < 64:  # noqa: ASYNC110 - replies set no event
            await asyncio.sleep(0)
        await gateway.drain()
        await asyncio.gather(*callers)
    assert codes.pop("OK") >= 64
    assert codes == {"UNAVAILABLE": 32}


async def test_a_drain_does_not_wait_for_a_load_and_says_so(tmp_path: Path, engine: FakeEngine) -> None:
    archives = [make_archive(tmp_path)]
    async with running_gateway(archives, engine, admin_on_inference_port=True) as gateway:
        archives.append(make_archive(tmp_path, "slow"))
        engine.hold()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
            request = pb.RepositoryModelLoadRequest(model_name="slow")
            loading = asyncio.ensure_future(inference_stub(channel).RepositoryModelLoad(request))
            await engine.entered.wait()
            async with asyncio.timeout(3):  # of a grace period of 5
                await gateway.drain()
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await loading
            assert details_of(refusal.value)["ErrorInfo"].reason == "SHUTTING_DOWN"


async def _infer(stub: GRPCInferenceServiceStub) -> object:
    return await stub.ModelInfer(infer_request(IMAGE), timeout=10)
