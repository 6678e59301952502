"""Traces over OTLP, against a receiver that speaks its protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from seqserve.gateway import Gateway
from seqserve.otlp import OtlpTracing
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import settings_for_tests
from support.oip import infer_request, inference_stub

IMAGE = np.full((1, 2, 3), 0.25, np.float32)
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


@dataclass
class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that come."""

    spans: dict[str, Span] = field(default_factory=dict)

    async def Export(self, request: otlp.ExportTraceServiceRequest, context: Any) -> Any:  # noqa: N802
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    attributes = {pair.key: pair.value.string_value for pair in span.attributes}
                    self.spans[attributes["seqserve.request_id"]] = span
        return otlp.ExportTraceServiceResponse()


@pytest.fixture
async def collector() -> AsyncIterator[tuple[Receiver, str]]:
    receiver, server = Receiver(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield receiver, f"http://127.0.0.1:{port}"
    await server.stop(None)


async def test_calls_become_spans_in_the_callers_trace(
    tmp_path: Path, engine: FakeEngine, collector: tuple[Receiver, str]
) -> None:
    receiver, endpoint = collector
    gateway = Gateway(settings_for_tests(), tracing=OtlpTracing(endpoint))
    await gateway.start()
    await gateway.load(lambda: [make_archive(tmp_path)], engine)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
        stub = inference_stub(channel)
        parent = ("traceparent", f"00-{TRACE_ID}-00f067aa0ba902b7-01")
        await stub.ModelInfer(infer_request(IMAGE), metadata=(parent, ("x-request-id", "good")))
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.ModelInfer(infer_request(IMAGE, model="nobody"), metadata=(("x-request-id", "bad"),))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as http:
        headers = {"traceparent": parent[1], "x-request-id": "rest"}
        await http.get("/v2/models/nobody", headers=headers)
    await asyncio.wait_for(gateway.drain(), 20)

    good, bad = receiver.spans["good"], receiver.spans["bad"]
    assert good.name == "inference.GRPCInferenceService.ModelInfer"
    assert good.trace_id.hex() == TRACE_ID
    assert good.status.code != Status.STATUS_CODE_ERROR
    rest = receiver.spans["rest"]
    assert (rest.name, rest.trace_id.hex()) == ("GET /v2/models/{model}", TRACE_ID)
    assert rest.status.message == "NOT_FOUND"
    assert (bad.status.code, bad.status.message) == (Status.STATUS_CODE_ERROR, "NOT_FOUND")
