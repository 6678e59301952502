"""Errors as the end of a gRPC call: its status, its details and the call's id."""

from __future__ import annotations

import grpc
import structlog
from google.rpc import status_pb2
from grpc_status.rpc_status import to_status

from seqserve.grpc_api.streams import Context
from seqserve.request_ids import REQUEST_ID
from seqserve.status import describe, status_of

log = structlog.get_logger()


def report(error: Exception, request_id: str, method: str) -> status_pb2.Status:
    """What the caller may know of an error, once the log knows it."""
    code = status_of(error).grpc
    if code is grpc.StatusCode.INTERNAL:
        log.error("call failed", method=method, request_id=request_id, exc_info=error)
    else:
        log.debug("call refused", method=method, request_id=request_id, code=code.name, reason=str(error))
    return describe(error, request_id)


async def abort(context: Context, status: status_pb2.Status, request_id: str) -> None:
    """End the call with that status; it raises, as grpc.aio's own does."""
    wire = to_status(status)
    await context.abort(wire.code, wire.details, (*wire.trailing_metadata, (REQUEST_ID, request_id)))
