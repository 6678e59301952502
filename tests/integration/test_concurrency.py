"""Many callers at once: batched, not crossed; those who leave or expire harm nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import numpy as np
import pytest

from seqserve.gateway import Gateway
from seqserve.pb import inference_pb2 as pb
from seqserve.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from support.archives import make_archive
from support.engines import FakeEngine, expected_answers
from support.gateway import running_gateway
from support.oip import details_of, infer_request, inference_stub, rows_of, words_of
from support.running import until

IMAGE = np.full((1, 6), 0.25, np.float32)


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> GRPCInferenceServiceStub:
    return inference_stub(channel)


async def held(engine: FakeEngine, stub: GRPCInferenceServiceStub) -> asyncio.Future[pb.ModelInferResponse]:
    """A request that keeps the engine busy until its gate opens."""
    engine.batches.clear()
    engine.hold()
    task: asyncio.Future[pb.ModelInferResponse] = asyncio.ensure_future(stub.ModelInfer(infer_request(IMAGE)))
    await engine.entered.wait()
    return task


async def queued(gateway: Gateway, examples: int) -> None:
    """Return when so many examples wait for a batch."""
    batcher = gateway.repository.resolve("tiny", "").batcher
    await until(lambda: batcher.queued_examples == examples)


async def test_callers_share_batches_and_get_their_own_answers(
    gateway: Gateway, stub: GRPCInferenceServiceStub, engine: FakeEngine
) -> None:
    first = await held(engine, stub)
    images = np.random.default_rng(0).random((40, 1, 6), np.float32)
    calls = [asyncio.ensure_future(stub.ModelInfer(infer_request(image))) for image in images]
    await queued(gateway, 40)
    engine.gate.set()
    replies = await asyncio.gather(*calls)
    await first

    assert sum(engine.batches) == 41
    assert len(engine.batches) < 20
    for image, reply in zip(images, replies, strict=True):
        np.testing.assert_array_equal(rows_of(reply), expected_answers(image, rows_of(reply).shape[1]))


async def test_a_cancelled_caller_never_reaches_the_engine(
    gateway: Gateway, stub: GRPCInferenceServiceStub, engine: FakeEngine
) -> None:
    first = await held(engine, stub)
    leaving, staying = (stub.ModelInfer(infer_request(IMAGE)) for _ in range(2))
    await queued(gateway, 2)
    leaving.cancel()
    await queued(gateway, 1)
    engine.gate.set()
    await asyncio.gather(first, staying)

    assert engine.batches == [1, 1]


async def test_a_deadline_that_passes_in_the_queue_is_exceeded(
    stub: GRPCInferenceServiceStub, engine: FakeEngine
) -> None:
    first = await held(engine, stub)
    request = infer_request(IMAGE)
    request.parameters["timeout"].int64_param = 50_000  # µs
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.ModelInfer(request)
    engine.gate.set()
    await first

    assert refusal.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert engine.batches == [1]


async def test_a_caller_without_a_deadline_gets_the_default_one(tmp_path: Path, engine: FakeEngine) -> None:
    async with (
        running_gateway([make_archive(tmp_path)], engine, default_timeout_seconds=0.1) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
    ):
        engine.hold()
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await inference_stub(channel).ModelInfer(infer_request(IMAGE))
        engine.gate.set()

    assert refusal.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "0.1 s" in words_of(refusal.value)


async def test_a_full_queue_refuses_at_once_with_a_retry_hint(tmp_path: Path, engine: FakeEngine) -> None:
    async with (
        running_gateway(
            [make_archive(tmp_path)], engine, max_queue_size=4, max_request_examples=4
        ) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
    ):
        stub = inference_stub(channel)
        first = await held(engine, stub)
        waiting = asyncio.ensure_future(stub.ModelInfer(infer_request(np.repeat(IMAGE, 4, axis=0))))
        await queued(gateway, 4)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stub.ModelInfer(infer_request(IMAGE))
        engine.gate.set()
        await asyncio.gather(first, waiting)

    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "RetryInfo" in details_of(refusal.value)
