"""Tracing by OpenTelemetry over OTLP/gRPC; needs the extra `otel`.

The caller's `traceparent` is taken over, so a call appears in its client's trace.
Source: W3C Trace Context; OpenTelemetry's semantic conventions for RPC, HTTP, exceptions and services.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import structlog

from seqserve import __version__
from seqserve.errors import DependencyMissing
from seqserve.status import status_of
from seqserve.tracing import Attributes, RecordedSpan, Span, current_span

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise DependencyMissing("traces need OpenTelemetry", hint="pip install 'seqserve[otel]'") from error

log = structlog.get_logger()

SHUTDOWN_SECONDS = 3.0
"""For what is left to be sent, and once more at most for a receiver that does not answer to be left."""
TELL_SECONDS = 60.0
"""What goes wrong with the receiver is in the log so often at most."""
GATEWAYS_FAULTS = frozenset({
    "UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
})  # fmt: skip
"""Codes of gRPC that make a server's span an error; the others are the caller's doing."""
FIRST_SERVER_ERROR = 500
CALLER_LEFT = 499
HTTP_CODES = {"OK": 200, "DEADLINE_EXCEEDED": 504}
"""Of calls that no error has ended."""

_propagator = TraceContextTextMapPropagator()


class OtlpTracing:
    """Spans go to `endpoint` (`http://HOST:4317`), in batches, from a thread of their own.

    What does not fit into the queue of 2,048 spans is dropped: no call waits for the receiver. Sampling,
    queue, headers and resource are OpenTelemetry's variables, see docs/tracing.md.
    """

    def __init__(self, endpoint: str) -> None:
        _tell_in_our_log()
        own = {"service.name": "seqserve", "service.version": __version__}
        named = OTELResourceDetector().detect().attributes  # of OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
        self._exporter = OTLPSpanExporter(endpoint, insecure=endpoint.startswith("http://"))
        self._provider = TracerProvider(resource=Resource.create({**own, **named}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("seqserve", __version__)

    @contextmanager
    def span(self, method: str, request_id: str, metadata: Mapping[str, str]) -> Iterator[Span]:
        """See tracing.Tracing."""
        protocol = _protocol_of(method)
        attributes = {"seqserve.request_id": request_id, **protocol.attributes}
        parent = _propagator.extract(metadata, Context())
        clock = _Clock(time.time_ns(), time.perf_counter())
        started = self._tracer.start_span(
            method, parent, trace.SpanKind.SERVER, attributes, start_time=clock.wall_ns
        )
        call = _OtlpSpan(self._tracer, started, clock, protocol)
        token = current_span.set(call)
        try:
            yield call
        except asyncio.CancelledError:
            call.note_code("CANCELLED")
            raise
        finally:
            current_span.reset(token)
            call.note_code("OK")
            call.end(time.perf_counter())

    def shutdown(self) -> None:
        """See tracing.Tracing. It takes SHUTDOWN_SECONDS where the receiver does not answer."""
        sending = threading.Thread(target=self._provider.shutdown, name="last-traces", daemon=True)
        sending.start()
        sending.join(SHUTDOWN_SECONDS)
        if sending.is_alive():
            log.warning("the last traces are lost: their receiver does not answer")
            self._exporter.shutdown()  # it closes the channel, and ends the wait for another try
            sending.join(SHUTDOWN_SECONDS)


class _Protocol(NamedTuple):
    """Which calls they are, and how their spans say what came of them."""

    attributes: dict[str, str]
    is_http: bool


class _Clock(NamedTuple):
    """One moment on both clocks: the epoch's, in ns, and perf_counter's, in seconds.

    All moments of a call are counted from it. If the system's clock is set meanwhile, they stay in order.
    """

    wall_ns: int
    moment: float

    def ns(self, moment: float) -> int:
        """Since the epoch."""
        return self.wall_ns + round((moment - self.moment) * 1e9)


class _OtlpSpan:
    """A RecordedSpan: a call's, or a part of it."""

    def __init__(
        self, tracer: trace.Tracer, span: trace.Span, clock: _Clock, protocol: _Protocol | None = None
    ) -> None:
        self._tracer = tracer
        self._span = span
        self._clock = clock
        self._protocol = protocol
        self._code = ""
        self._http = 0
        self._is_over = False

    @property
    def is_recorded(self) -> bool:
        """See RecordedSpan."""
        return self._span.is_recording()

    @property
    def trace_id(self) -> str:
        """See Span."""
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """See RecordedSpan."""
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, trace.set_span_in_context(self._span, Context()))
        return tuple(carrier.items())

    def describe(self, attributes: Attributes) -> None:
        """See RecordedSpan."""
        self._span.set_attributes(attributes)

    def fail(self, error: Exception) -> None:
        """See Span: an event says what went wrong, with a traceback where only we can know why."""
        if not self.is_recorded:
            return
        status = status_of(error)
        event = {"exception.type": type(error).__name__, "exception.message": str(error)}
        if status.grpc.name == "INTERNAL":
            event["exception.stacktrace"] = "".join(traceback.format_exception(error))
        self._span.add_event("exception", event)
        self.describe({"error.type": type(error).__name__})
        self._code, self._http = status.grpc.name, status.http.value

    def note_code(self, code: str) -> None:
        """See Span; what is known already counts."""
        if not self._code:
            self._code, self._http = code, HTTP_CODES.get(code, CALLER_LEFT)

    def child(
        self,
        name: str,
        started: float,
        attributes: Attributes,
        links: Sequence[RecordedSpan] = (),
        *,
        is_remote: bool = False,
    ) -> _OtlpSpan:
        """See RecordedSpan."""
        span = self._tracer.start_span(
            name,
            trace.set_span_in_context(self._span, Context()),
            trace.SpanKind.CLIENT if is_remote else trace.SpanKind.INTERNAL,
            attributes,
            [trace.Link(each._span.get_span_context()) for each in links if isinstance(each, _OtlpSpan)],  # noqa: SLF001 - of its own kind
            start_time=self._clock.ns(started),
        )
        return _OtlpSpan(self._tracer, span, self._clock)

    def end(self, ended: float) -> None:
        """See RecordedSpan."""
        if not self._is_over:
            self._is_over = True
            self._tell_code()
            self._span.end(self._clock.ns(ended))

    def _tell_code(self) -> None:
        """A phase says only what went wrong, a call what the conventions for its protocol ask for."""
        is_error = self._code not in ("", "OK")
        if self._protocol is not None and self._protocol.is_http:
            self._span.set_attribute("http.response.status_code", self._http)
            is_error = self._http >= FIRST_SERVER_ERROR
        elif self._protocol is not None:
            self._span.set_attribute("rpc.response.status_code", self._code)
            is_error = self._code in GATEWAYS_FAULTS
        if is_error:
            self._span.set_status(trace.StatusCode.ERROR, self._code)


class _OurLog(logging.Handler):
    """Hands OpenTelemetry's own complaints to our log, in its format, and seldom.

    As long as the receiver is away there would be some every second, and one for each span that is dropped.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told_at = -TELL_SECONDS
        self._untold = 0

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler, which has a lock around it."""
        now = time.monotonic()
        if now < self._told_at + TELL_SECONDS:
            self._untold += 1
            return
        untold, self._told_at, self._untold = self._untold, now, 0
        is_sending = record.name.startswith(("opentelemetry.exporter", "opentelemetry.sdk.trace.export"))
        event = "traces are not delivered" if is_sending else "opentelemetry warns"
        log.warning(event, reason=record.getMessage(), since_the_last_line=untold)


def _tell_in_our_log() -> None:
    """OpenTelemetry writes by Python's `logging`; without this its lines would be no JSON."""
    logger = logging.getLogger("opentelemetry")
    if not any(isinstance(handler, _OurLog) for handler in logger.handlers):
        logger.addHandler(_OurLog())
        logger.propagate = False


def _protocol_of(method: str) -> _Protocol:
    """Of `package.Service.Method`, or of `POST /path`."""
    verb, _, route = method.partition(" ")
    if route:
        return _Protocol({"http.request.method": verb, "http.route": route}, is_http=True)
    return _Protocol({"rpc.system.name": "grpc", "rpc.method": method}, is_http=False)
