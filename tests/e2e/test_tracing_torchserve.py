"""Traces through a real TorchServe: as far as it takes them, and what the gateway tells of it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from seqserve.archive import read_archive
from seqserve.engine_setup import Unheard
from seqserve.engines.torchserve.config import TorchServePorts, TorchServeSettings
from seqserve.engines.torchserve.engine import TorchServeEngine
from seqserve.engines.torchserve.server import TorchServeServer
from seqserve.pb import torchserve_pb2, torchserve_pb2_grpc
from seqserve.trust import UNCHECKED
from support.archives import make_archive
from support.oip import infer_request, inference_stub
from support.otlp import PHASES, TRACE_ID, Receiver, attributes, receiving, traceparent
from support.served import serving

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        importlib.util.find_spec("ts") is None, reason="the extra `torchserve` is not installed"
    ),
]
DIGIT = np.full((1, 28, 28), 0.25, np.float32)
SPY = b"""
import json

def handle(rows, context):
    if rows is None:
        return None
    headers = [context.get_all_request_header(index) for index in range(len(rows))]
    return [json.dumps({"keys": sorted(row), "headers": {str(key): str(value) for key, value in own.items()}}).encode()
            for row, own in zip(rows, headers)]
"""


async def test_torchserve_keeps_what_comes_beside_a_request_from_its_handlers(tmp_path: Path) -> None:
    """Else the handler could say whose trace it works for. What sees it: proxies, and agents in Java."""
    archive = read_archive(make_archive(tmp_path, "spy", replace={"handler.py": SPY}), UNCHECKED)
    server = TorchServeServer(TorchServeSettings(ports=TorchServePorts(0, 0, 0, 0, 0)))
    endpoint = await server.start()
    engine = TorchServeEngine(endpoint, Unheard())
    try:
        await engine.load(archive)
        metadata = (("authorization", f"Bearer {endpoint.tokens.inference()}"), traceparent())
        request = torchserve_pb2.PredictionsRequest(model_name="spy", model_version="1", input={"data": b"x"})
        async with grpc.aio.insecure_channel(endpoint.grpc_target) as channel:
            stub = torchserve_pb2_grpc.InferenceAPIsServiceStub(channel)  # type: ignore[no-untyped-call]
            reply = await stub.Predictions(request, metadata=metadata)
    finally:
        await engine.aclose()
        await server.stop()

    assert json.loads(reply.prediction)["keys"] == ["data"]
    assert b"traceparent" not in reply.prediction
    assert TRACE_ID.encode() not in reply.prediction


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    async with receiving() as started:
        yield started


async def test_a_call_through_torchserve_has_all_phases_and_its_trace_goes_on(
    tmp_path: Path, store: Path, receiver: tuple[Receiver, str]
) -> None:
    spans, endpoint = receiver
    await asyncio.to_thread(ask_a_process_of_its_own, tmp_path, store, endpoint)

    call = spans.call("real")
    assert call.trace_id.hex() == TRACE_ID
    assert [phase.name for phase in spans.phases(call)] == PHASES
    spans.check_order(call)
    compute = spans.phase(call, "compute")
    assert compute.kind == Span.SPAN_KIND_CLIENT
    assert attributes(compute)["seqserve.engine"] == "torchserve"
    assert attributes(compute)["seqserve.model"] == "digit_mlp"


def ask_a_process_of_its_own(folder: Path, store: Path, endpoint: str) -> None:
    """One request through a gateway and its TorchServe, until both have ended."""
    metadata = (("x-request-id", "real"), traceparent())
    with (
        serving(folder, store, "--engine", "torchserve", "--otlp-endpoint", endpoint) as gateway,
        grpc.insecure_channel(gateway.grpc) as channel,
    ):
        inference_stub(channel).ModelInfer(infer_request(DIGIT, model="digit_mlp"), metadata=metadata)
