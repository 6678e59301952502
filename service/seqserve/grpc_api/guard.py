"""Turns calls away before anything of their messages is read: every service of a port stands behind one."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from seqserve.access.gate import Gate
from seqserve.call_log import CallLine
from seqserve.client_settings import Scope
from seqserve.errors import PermissionDenied, Unauthenticated
from seqserve.grpc_api.boundary import Handler
from seqserve.grpc_api.callers import room_of_caller
from seqserve.grpc_api.metadata import Metadata, authorizations, texts
from seqserve.grpc_api.refusals import abort, report
from seqserve.grpc_api.streams import Context
from seqserve.request_ids import REQUEST_ID, request_id
from seqserve.tracing import trace_id_of


class Guard(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic for type checkers only
    """A service's handler, for those who may call it; UNIMPLEMENTED stays the answer where there is none.

    scope_of: what a method needs, by its path.
    """

    def __init__(self, handler: Handler, gate: Gate, scope_of: Callable[[str], Scope]) -> None:
        self._handler = handler
        self._gate = gate
        self._scope_of = scope_of

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """See grpc.GenericRpcHandler; called once a call, before its first message is read."""
        found = self._handler.service(handler_call_details)
        if self._gate.is_open or found is None:
            return found
        path, metadata = handler_call_details.method, handler_call_details.invocation_metadata
        try:
            room = self._gate.admit(authorizations(metadata), self._scope_of(path))
        except (Unauthenticated, PermissionDenied) as error:
            return _refusing(error, path, metadata)
        room_of_caller.set(room)
        return found


def _refusing(error: Exception, path: str, metadata: Metadata) -> grpc.RpcMethodHandler[bytes, bytes]:
    """As a stream, whatever the method: only then no message is read."""
    given = texts(metadata)
    line = CallLine(path, request_id(given.get(REQUEST_ID, "")), trace_id_of(given))

    async def refuse(_: object, context: Context) -> None:
        await abort(context, report(error, line), line.request_id)

    return grpc.stream_stream_rpc_method_handler(refuse)
