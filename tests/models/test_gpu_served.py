"""A gateway on a GPU, which the CPU plays: what callers, probes and the orchestrator see of its faults."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import grpc
import httpx
import pytest
import torch
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from seqserve import server
from seqserve.engine_setup import running_engine
from seqserve.gateway import Gateway
from seqserve.settings import Settings
from support.gateway import settings_for_tests
from support.gpu import FakeGpu
from support.oip import infer_request, inference_stub
from support.torchscript import IMAGES, digit_archive

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
ASSERTED = torch.AcceleratorError("CUDA error: device-side assert triggered")
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Left(BaseException):
    """In place of the end of this program."""


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """An engine sets torch's threads for the whole program."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    """The one that the embedded engine finds."""
    fake = FakeGpu()
    monkeypatch.setattr("seqserve.engines.embedded_device.find_device", lambda _: fake)
    return fake


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a gateway that serves `digit`."""
    digit_archive(tmp_path)
    return settings_for_tests(model_store=tmp_path)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway with the engine of its settings."""
    archives = sorted(settings.model_store.glob("*.mar"))
    gateway = Gateway(settings)
    async with running_engine(settings, archives, gateway.engine_hooks) as engine:
        try:
            await gateway.start()
            await gateway.load(lambda: archives, engine)
            yield gateway
        finally:
            await gateway.drain()


async def code_of_infer(channel: grpc.aio.Channel) -> str:
    try:
        await inference_stub(channel).ModelInfer(infer_request(IMAGES[:3], model="digit"))
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def health(channel: grpc.aio.Channel, service: str) -> int:
    return int((await HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))).status)


async def metrics_of(gateway: Gateway) -> str:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as http:
        reply = await http.get("/metrics")
    assert reply.status_code == 200
    return reply.text


async def test_a_full_gpu_refuses_a_batch_and_is_counted(settings: Settings, gpu: FakeGpu) -> None:
    async with (
        serving(settings) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
    ):
        gpu.fault = FULL
        assert await code_of_infer(channel) == "RESOURCE_EXHAUSTED"
        gpu.fault = None

        assert await code_of_infer(channel) == "OK"
        assert await health(channel, "model/digit/1") == SERVING
        assert "seqserve_out_of_memory_total 1.0" in await metrics_of(gateway)


async def test_a_broken_gpu_takes_every_model_out_of_service(settings: Settings, gpu: FakeGpu) -> None:
    async with (
        serving(settings) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
    ):
        outliving = asyncio.create_task(gateway.outlive_engine())
        assert await code_of_infer(channel) == "OK"
        was_broken = gateway.is_gpu_broken

        gpu.fault, gpu.is_broken = ASSERTED, True
        assert await code_of_infer(channel) == "UNAVAILABLE"
        await outliving

        assert (was_broken, gateway.is_gpu_broken) == (False, True)
        assert await health(channel, "") == await health(channel, "model/digit/1") == NOT_SERVING
        assert await health(channel, "liveness") == SERVING


async def test_the_gpus_memory_and_use_are_metrics_while_it_answers(settings: Settings, gpu: FakeGpu) -> None:
    async with serving(settings) as gateway:
        told = await metrics_of(gateway)
        gpu.is_broken = True
        told_of_broken = await metrics_of(gateway)

    assert 'seqserve_gpu_memory_used_bytes{device="cuda:0"} 3000.0' in told
    assert 'seqserve_gpu_memory_total_bytes{device="cuda:0"} 8000.0' in told
    assert 'seqserve_gpu_utilization_ratio{device="cuda:0"} 0.25' in told
    assert "seqserve_gpu_memory_used_bytes{" not in told_of_broken


async def test_on_the_cpu_there_are_no_metrics_of_a_gpu(settings: Settings) -> None:
    async with serving(settings.model_copy(update={"device": "cpu"})) as gateway:
        assert "seqserve_gpu" not in await metrics_of(gateway)


@pytest.mark.parametrize("is_allowed", [False, True])
async def test_the_setting_allows_tf32(settings: Settings, *, is_allowed: bool) -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        async with serving(settings.model_copy(update={"device": "cpu", "allow_tf32": is_allowed})):
            assert torch.backends.cuda.matmul.allow_tf32 is is_allowed
            assert torch.backends.cudnn.allow_tf32 is is_allowed
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


async def test_a_gateway_whose_gpu_breaks_drains_and_exits_with_70(
    settings: Settings, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(status: int) -> NoReturn:
        raise Left(status)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(server, "configure_logs", lambda *_: None)  # for this program's own logs
    gpu.before_copy = lambda: setattr(gpu, "is_broken", True)  # type: ignore[method-assign]
    gpu.fault = ASSERTED

    with pytest.raises(Left) as left:
        await server.serve(settings)

    assert left.value.args == (server.EXIT_WITH_BROKEN_GPU,) == (70,)


async def test_work_beside_the_event_loop_keeps_to_the_cores_it_may_use() -> None:
    server.limit_threads(cores=2)
    full, go_on = threading.Event(), threading.Event()
    running: list[int] = []

    def work() -> None:
        running.append(1)
        if len(running) == 2 + server.WAITING_THREADS:
            full.set()
        go_on.wait()

    tasks = [asyncio.create_task(asyncio.to_thread(work)) for _ in range(20)]
    try:
        while not full.is_set():  # noqa: ASYNC110 - threads set it
            await asyncio.sleep(0)
        started = len(running)
    finally:
        go_on.set()
        await asyncio.gather(*tasks)

    assert started == 6
