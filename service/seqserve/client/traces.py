"""The trace that a call belongs to, where the calling program is traced by OpenTelemetry."""

from __future__ import annotations

import sys

Metadata = tuple[tuple[str, str], ...]


def trace_metadata() -> Metadata:
    """`traceparent` and `tracestate` of the active span; nothing where there is none.

    A program that has not imported OpenTelemetry has none, and needs none installed.
    """
    if "opentelemetry.trace" not in sys.modules:
        return ()
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return tuple(carrier.items())
