"""ModelStatistics: the numbers are those of what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import grpc
import numpy as np
import pytest

from seqserve.gateway import Gateway
from seqserve.pb import inference_pb2 as pb
from seqserve.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from seqserve.repository.versions import ModelState, ModelVersion
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.oip import details_of, infer_request, inference_stub
from support.running import until

DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")


@pytest.fixture
async def gateway(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[Gateway]:
    """Serves `tiny` versions 1 and 2, which take batches of at most 4, and `other`."""
    archives = [make_archive(tmp_path), make_archive(tmp_path, version="2"), make_archive(tmp_path, "other")]
    async with running_gateway(archives, engine) as running:
        yield running


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> GRPCInferenceServiceStub:
    return inference_stub(channel)


def images(count: int) -> np.ndarray:
    return np.full((count, 6), 0.25, np.float32)


async def asked(
    stub: GRPCInferenceServiceStub, name: str = "", version: str = ""
) -> list[pb.ModelStatistics]:
    request = pb.ModelStatisticsRequest(name=name, version=version)
    return list((await stub.ModelStatistics(request)).model_stats)


async def of_tiny(stub: GRPCInferenceServiceStub) -> pb.ModelStatistics:
    [found] = await asked(stub, "tiny", "2")
    return found


def counts(found: pb.ModelStatistics) -> dict[str, int]:
    return {name: getattr(found.inference_stats, name).count for name in DURATIONS}


async def test_before_the_first_request_everything_is_zero(stub: GRPCInferenceServiceStub) -> None:
    found = await of_tiny(stub)

    assert (found.name, found.version) == ("tiny", "2")
    assert (found.last_inference, found.inference_count, found.execution_count) == (0, 0, 0)
    assert counts(found) == dict.fromkeys(DURATIONS, 0)
    assert not found.batch_stats


async def test_requests_examples_and_batches_are_counted_as_they_were_sent(
    stub: GRPCInferenceServiceStub,
) -> None:
    for examples in (1, 1, 3, 4):
        await stub.ModelInfer(infer_request(images(examples)))
    found = await of_tiny(stub)

    assert (found.inference_count, found.execution_count) == (9, 4)
    assert counts(found) == dict.fromkeys(DURATIONS, 4) | {"fail": 0}
    assert {batch.batch_size: batch.compute_infer.count for batch in found.batch_stats} == {1: 2, 3: 1, 4: 1}
    assert all(batch.compute_input.count == batch.compute_output.count for batch in found.batch_stats)
    assert found.last_inference > 1_600_000_000_000  # milliseconds, and of this century


async def test_a_split_request_is_one_request_in_several_batches(stub: GRPCInferenceServiceStub) -> None:
    await stub.ModelInfer(infer_request(images(10)))
    found = await of_tiny(stub)

    assert found.inference_stats.success.count == 1
    assert (found.inference_count, found.execution_count) == (10, 3)
    assert [(batch.batch_size, batch.compute_infer.count) for batch in found.batch_stats] == [(2, 1), (4, 2)]


async def test_requests_that_shared_a_batch_are_one_execution(
    stub: GRPCInferenceServiceStub, engine: FakeEngine, gateway: Gateway
) -> None:
    engine.hold()
    first = asyncio.ensure_future(stub.ModelInfer(infer_request(images(1))))
    await engine.entered.wait()
    rest = [asyncio.ensure_future(stub.ModelInfer(infer_request(images(1)))) for _ in range(3)]
    batcher = gateway.repository.resolve("tiny", "").batcher
    await until(lambda: batcher.queued_examples == 3)
    engine.gate.set()
    await asyncio.gather(first, *rest)
    found = await of_tiny(stub)

    assert (found.inference_count, found.execution_count) == (4, 2)
    assert [(batch.batch_size, batch.compute_infer.count) for batch in found.batch_stats] == [(1, 1), (3, 1)]
    assert found.inference_stats.queue.ns > 0


async def test_failures_count_as_such_and_as_nothing_else(
    stub: GRPCInferenceServiceStub, engine: FakeEngine
) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.ModelInfer(infer_request([[7.0] * 6]))
    engine.fault = RuntimeError("broken")
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.ModelInfer(infer_request(images(1)))
    found = await of_tiny(stub)

    assert counts(found) == dict.fromkeys(DURATIONS, 0) | {"fail": 2}
    assert (found.inference_count, found.execution_count, found.last_inference) == (0, 0, 0)
    assert found.inference_stats.fail.ns > 0


async def test_the_phases_lie_within_the_whole_and_never_shrink(stub: GRPCInferenceServiceStub) -> None:
    seen = [await of_tiny(stub)]
    for _ in range(5):
        await stub.ModelInfer(infer_request(images(2)))
        seen.append(await of_tiny(stub))

    for before, after in pairwise(seen):
        for name in DURATIONS:
            assert getattr(after.inference_stats, name).ns >= getattr(before.inference_stats, name).ns
        assert after.last_inference >= before.last_inference
    phases = seen[-1].inference_stats
    assert 0 < phases.compute_infer.ns + phases.queue.ns + phases.compute_input.ns <= phases.success.ns
    assert phases.compute_output.ns > 0


async def test_each_version_counts_for_itself_and_streams_count_too(stub: GRPCInferenceServiceStub) -> None:
    await stub.ModelInfer(infer_request(images(1), version="1"))
    stream = stub.ModelStreamInfer()
    await stream.write(infer_request(images(2), version="2"))
    await stream.read()
    await stream.done_writing()

    found = {(counted.name, counted.version): counted for counted in await asked(stub)}
    assert sorted(found) == [("other", "1"), ("tiny", "1"), ("tiny", "2")]
    assert {key: counted.inference_count for key, counted in found.items()} == {
        ("other", "1"): 0,
        ("tiny", "1"): 1,
        ("tiny", "2"): 2,
    }
    assert found["tiny", "2"].inference_stats.compute_output.count == 1
    assert [counted.version for counted in await asked(stub, "tiny")] == ["1", "2"]


@pytest.mark.parametrize(("name", "version"), [("nobody", ""), ("tiny", "7"), ("tiny", "stable")])
async def test_what_is_not_there_is_not_found(
    stub: GRPCInferenceServiceStub, name: str, version: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await asked(stub, name, version)

    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
    assert details_of(refusal.value)["ErrorInfo"].reason in ("MODEL_NOT_FOUND", "VERSION_NOT_FOUND")


async def test_a_version_that_failed_is_there_and_has_counted_nothing(
    stub: GRPCInferenceServiceStub, gateway: Gateway
) -> None:
    await gateway.repository.put(ModelVersion("broken", "1", state=ModelState.FAILED, reason="GOLDEN"))

    [found] = await asked(stub, "broken")

    assert (found.name, found.version) == ("broken", "1")
    assert counts(found) == dict.fromkeys(DURATIONS, 0)


async def test_a_version_that_has_left_is_not_found_and_goes_on_counting_when_it_is_back(
    stub: GRPCInferenceServiceStub, gateway: Gateway
) -> None:
    await stub.ModelInfer(infer_request(images(1), version="1"))
    entry = gateway.repository.find("tiny", "1")
    assert entry is not None
    await gateway.repository.remove(entry)

    assert ("tiny", "1") not in {(found.name, found.version) for found in await asked(stub)}
    await gateway.repository.put(entry)
    [found] = await asked(stub, "tiny", "1")
    assert found.inference_count == 1
