"""Tracing by OpenTelemetry over OTLP/gRPC; needs the extra `otel`.

The caller's `traceparent` is taken over, so a call appears in its client's trace.
Source: W3C Trace Context; OpenTelemetry's semantic conventions for RPC and HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from seqserve import __version__
from seqserve.errors import DependencyMissing
from seqserve.tracing import Span

try:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise DependencyMissing("traces need OpenTelemetry", hint="pip install 'seqserve[otel]'") from error


@dataclass(frozen=True, slots=True)
class CallSpan:
    """One call's span."""

    span: trace.Span

    def fail(self, code: str) -> None:
        """See tracing.Span."""
        self.span.set_status(trace.StatusCode.ERROR, code)
        self.span.set_attribute("rpc.response.status_code", code)


class OtlpTracing:
    """Spans go to `endpoint` (`http://HOST:4317`), in batches, from a thread of their own."""

    def __init__(self, endpoint: str) -> None:
        resource = Resource.create({"service.name": "seqserve", "service.version": __version__})
        self._provider = TracerProvider(resource=resource)
        exporter = OTLPSpanExporter(endpoint, insecure=endpoint.startswith("http://"))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("seqserve", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, method: str, request_id: str, metadata: Mapping[str, str]) -> Iterator[Span]:
        """See tracing.Tracing."""
        attributes = {"seqserve.request_id": request_id, **_of_protocol(method)}
        parent = self._propagator.extract(metadata)
        with self._tracer.start_as_current_span(
            method, parent, kind=trace.SpanKind.SERVER, attributes=attributes
        ) as span:
            yield CallSpan(span)

    def shutdown(self) -> None:
        """See tracing.Tracing."""
        self._provider.shutdown()


def _of_protocol(method: str) -> dict[str, str]:
    """Attributes of `package.Service.Method`, or of `POST /path`."""
    verb, _, route = method.partition(" ")
    if route:
        return {"http.request.method": verb, "http.route": route}
    return {"rpc.system.name": "grpc", "rpc.method": method}
