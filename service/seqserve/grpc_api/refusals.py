"""Errors as the end of a gRPC call: its status, its details and the call's id."""

from __future__ import annotations

import grpc
from google.rpc import status_pb2
from grpc_status.rpc_status import to_status

from seqserve.call_log import CallLine, log_failed, log_refused
from seqserve.grpc_api.streams import Context
from seqserve.request_ids import REQUEST_ID
from seqserve.status import describe, status_of


def report(error: Exception, line: CallLine) -> status_pb2.Status:
    """What the caller may know of an error, once the log knows it."""
    code = status_of(error).grpc
    log = log_failed if code is grpc.StatusCode.INTERNAL else log_refused
    log(line, code.name, error)
    return describe(error, line.request_id)


async def abort(context: Context, status: status_pb2.Status, request_id: str) -> None:
    """End the call with that status; it raises, as grpc.aio's own does."""
    wire = to_status(status)
    await context.abort(wire.code, wire.details, (*wire.trailing_metadata, (REQUEST_ID, request_id)))
