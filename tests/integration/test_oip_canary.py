"""Which version of a canary answers: the same one for every retry, whichever id the caller gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from seqserve.gateway import Gateway
from seqserve.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from seqserve.repository.routing import Routing
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.oip import infer_request, inference_stub

IMAGE = np.full((1, 6), 0.25, np.float32)
IDS = [f"order-{number}" for number in range(20)]


@pytest.fixture
async def gateway(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[Gateway]:
    """Half of the callers who name no version meet version 2."""
    archives = [make_archive(tmp_path, version=version) for version in ("1", "2")]
    async with running_gateway(archives, engine) as running:
        await running.repository.set_routing({"tiny": Routing(weights={"1": 1, "2": 1})})
        yield running


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> GRPCInferenceServiceStub:
    return inference_stub(channel)


async def versions_met(stub: GRPCInferenceServiceStub, ids: Sequence[str], **options: Any) -> list[str]:
    """Which version answers each message id."""
    replies = [await stub.ModelInfer(infer_request(IMAGE, id=name), **options) for name in ids]
    return [reply.model_version for reply in replies]


async def test_a_retry_with_the_same_message_id_meets_the_same_version(
    stub: GRPCInferenceServiceStub,
) -> None:
    first = await versions_met(stub, IDS)

    assert set(first) == {"1", "2"}
    assert await versions_met(stub, IDS) == first


async def test_a_stream_meets_the_versions_that_single_calls_meet(stub: GRPCInferenceServiceStub) -> None:
    stream = stub.ModelStreamInfer()
    met = []
    for name in IDS:
        await stream.write(infer_request(IMAGE, id=name))
        met.append((await stream.read()).infer_response.model_version)
    await stream.done_writing()

    assert met == await versions_met(stub, IDS)


async def test_the_calls_own_id_counts_before_the_messages(stub: GRPCInferenceServiceStub) -> None:
    met = await versions_met(stub, IDS, metadata=(("x-request-id", "order-7"),))

    assert met == await versions_met(stub, ["order-7"]) * len(IDS)


async def test_callers_without_an_id_are_spread(stub: GRPCInferenceServiceStub) -> None:
    assert set(await versions_met(stub, [""] * 64)) == {"1", "2"}


async def test_a_named_version_answers_whatever_the_id(stub: GRPCInferenceServiceStub) -> None:
    replies = [await stub.ModelInfer(infer_request(IMAGE, version="1", id=name)) for name in IDS]

    assert {reply.model_version for reply in replies} == {"1"}
