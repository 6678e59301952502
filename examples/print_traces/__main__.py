"""A receiver of OTLP traces that prints each call as a tree: to look at, in place of a collector.

`python -m examples.print_traces [PORT]`; 0 is a free one. It needs the extra `otel`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click
import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

OTLP_PORT = 4317


class Printer(trace_service_pb2_grpc.TraceServiceServicer):
    """Prints the spans of each export; those of a call mostly come with one."""

    def Export(self, request: pb.ExportTraceServiceRequest, context: Any) -> Any:  # noqa: ARG002, N802 - as gRPC calls it
        """See the protocol's TraceService."""
        scopes = (scope for resource in request.resource_spans for scope in resource.scope_spans)
        spans = sorted(
            (span for scope in scopes for span in scope.spans), key=lambda span: span.start_time_unix_nano
        )
        for line in trees(spans):
            click.echo(line)
        return pb.ExportTraceServiceResponse()


def trees(spans: Iterable[Span]) -> Iterator[str]:
    """Spans as lines, children indented below their parent."""
    found = list(spans)
    here = {span.span_id for span in found}
    for span in found:
        if span.parent_span_id not in here:
            caller = span.parent_span_id.hex() or "nobody that is traced"
            yield f"trace {span.trace_id.hex()}, called by {caller}"
            yield from tree(span, found, span.start_time_unix_nano, "  ")


def tree(span: Span, spans: list[Span], start_ns: int, indent: str) -> Iterator[str]:
    """One span and those below it. start_ns: of the call, which times are counted from."""
    begin, end = ((ns - start_ns) / 1e6 for ns in (span.start_time_unix_nano, span.end_time_unix_nano))
    failed = f"  ERROR {span.status.message}" if span.status.code == Status.STATUS_CODE_ERROR else ""
    yield f"{indent}{begin:.3f} to {end:.3f} ms  {span.name}{failed}"
    for pair in span.attributes:
        value = getattr(pair.value, pair.value.WhichOneof("value") or "string_value")
        yield f"{indent}    {pair.key} = {value}"
    for event in span.events:
        yield f"{indent}    {event.name}: " + ", ".join(pair.value.string_value for pair in event.attributes)
    for link in span.links:
        yield f"{indent}    linked to {link.span_id.hex()} of trace {link.trace_id.hex()}"
    for child in spans:
        if child.parent_span_id == span.span_id:
            yield from tree(child, spans, start_ns, f"{indent}  ")


@click.command()
@click.argument("port", type=click.IntRange(0, 65535), default=OTLP_PORT)
def main(port: int) -> None:
    """Print what comes to PORT of this machine until it is interrupted; 0 is a free one."""
    # Two on one port would share the traces.
    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Printer(), server)  # type: ignore[no-untyped-call]
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    click.echo(f"listening on 127.0.0.1:{bound}")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        server.stop(None)


if __name__ == "__main__":
    main()
