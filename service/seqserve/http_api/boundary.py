"""The one place where a call gets its id, and where errors become HTTP answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from seqserve.http_api.departures import CallerLeftError
from seqserve.http_api.refusals import refusal, routing_refusal
from seqserve.request_ids import REQUEST_ID, canary_key, request_id
from seqserve.status import status_of
from seqserve.tracing import Tracing

log = structlog.get_logger()

CALLER_LEFT = 499
"""What nginx logs for it; nobody receives it."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler may know of the call beside its request.

    is_given: the caller sent a request id, and `request_id` is that one.
    """

    request_id: str
    is_given: bool

    def canary_key(self, own_id: str) -> str:
        """See seqserve.request_ids; own_id: the message's, or ""."""
        return canary_key(self.request_id, own_id, is_given=self.is_given)


Handler = Callable[[Request, Call], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Boundary:
    """What every call passes."""

    tracing: Tracing

    def endpoint(self, operation: str, handler: Handler) -> Endpoint:
        """What Starlette routes to. operation: method and path, as spans and logs name it."""

        async def answer(request: Request) -> Response:
            call = _call(request)
            with self.tracing.span(operation, call.request_id, dict(request.headers)) as span:
                try:
                    response = await handler(request, call)
                except (CallerLeftError, ClientDisconnect):
                    span.fail("CANCELLED")
                    response = Response(status_code=CALLER_LEFT)
                except Exception as error:  # noqa: BLE001 - the boundary: nothing passes it unmapped
                    _report(error, call.request_id, operation)
                    span.fail(status_of(error).grpc.name)
                    response = refusal(error, call.request_id)
            response.headers[REQUEST_ID] = call.request_id
            return response

        return answer


async def unknown_path(request: Request, error: Exception) -> Response:
    """Starlette's handler of paths and methods that nothing is routed to."""
    if not isinstance(error, HTTPException):
        raise TypeError("only HTTPException is routed here") from error
    return routing_refusal(error, request.method, request.scope["path"], _call(request).request_id)


def _call(request: Request) -> Call:
    given = request.headers.get(REQUEST_ID, "")
    own = request_id(given)
    return Call(own, own == given)


def _report(error: Exception, own_id: str, operation: str) -> None:
    code = status_of(error).http
    if code is HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("call failed", method=operation, request_id=own_id, exc_info=error)
    else:
        log.debug("call refused", method=operation, request_id=own_id, code=code.value, reason=str(error))
