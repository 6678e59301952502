"""A receiver of traces that speaks OTLP over real gRPC, and questions about the spans that came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLERS_SPAN_ID = "00f067aa0ba902b7"
PHASES = ["decode", "queue", "assembly", "compute", "encode"]
WAIT_SECONDS = 60.0


def traceparent(*, trace_id: str = TRACE_ID, is_sampled: bool = True) -> tuple[str, str]:
    """The header of a caller that is traced itself."""
    return "traceparent", f"00-{trace_id}-{CALLERS_SPAN_ID}-{int(is_sampled):02x}"


def attributes(of: Span | Span.Event | Resource) -> dict[str, Any]:
    return {pair.key: _value(pair) for pair in of.attributes}


def _value(pair: KeyValue) -> Any:
    return getattr(pair.value, pair.value.WhichOneof("value") or "string_value")


@dataclass
class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what comes. gate: exports wait for it. fault: they fail with that code."""

    exports: list[pb.ExportTraceServiceRequest] = field(default_factory=list)
    headers: list[dict[str, Any]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    fault: grpc.StatusCode | None = None
    refused: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    async def Export(self, request: pb.ExportTraceServiceRequest, context: Any) -> Any:  # noqa: N802
        self.arrived.set()
        await self.gate.wait()
        if self.fault is not None:
            self.refused += 1
            await context.abort(self.fault, "not now")
        self.headers.append(dict(context.invocation_metadata()))
        self.exports.append(request)
        return pb.ExportTraceServiceResponse()

    @property
    def resource(self) -> dict[str, Any]:
        """What the first export says of who sent it."""
        return attributes(self.exports[0].resource_spans[0].resource)

    def spans(self) -> Iterator[Span]:
        for export in self.exports:
            for resource in export.resource_spans:
                for scope in resource.scope_spans:
                    yield from scope.spans

    def call(self, request_id: str) -> Span:
        """The span of a call."""
        [found] = [each for each in self.spans() if attributes(each).get("seqserve.request_id") == request_id]
        return found

    def phases(self, call: Span) -> list[Span]:
        """Of a call, in the order in which they began."""
        found = (span for span in self.spans() if span.parent_span_id == call.span_id)
        return sorted(found, key=lambda span: span.start_time_unix_nano)

    def phase(self, call: Span, name: str) -> Span:
        [found] = [span for span in self.phases(call) if span.name == name]
        return found

    def check_order(self, call: Span) -> None:
        """Each phase lies within its call, in its trace, and none begins before the one before it is over."""
        at = call.start_time_unix_nano
        for phase in self.phases(call):
            assert phase.trace_id == call.trace_id
            assert at <= phase.start_time_unix_nano <= phase.end_time_unix_nano
            at = phase.end_time_unix_nano
        assert at <= call.end_time_unix_nano


@asynccontextmanager
async def receiving(port: int = 0) -> AsyncIterator[tuple[Receiver, str]]:
    """A receiver and its endpoint, for the length of the block."""
    receiver, server = Receiver(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield receiver, f"http://127.0.0.1:{bound}"
    finally:
        receiver.gate.set()
        await server.stop(None)
