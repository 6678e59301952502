"""The one place where a call gets its id, and where errors become HTTP answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from seqserve.access.gate import ANY_ROOM, Gate
from seqserve.access.tokens import AUTHORIZATION
from seqserve.client_settings import Scope
from seqserve.errors import PermissionDenied, Unauthenticated, quote_came
from seqserve.http_api.departures import CallerLeftError
from seqserve.http_api.refusals import refusal, routing_refusal
from seqserve.http_api.web_pages import is_of_web_page
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
class Terms:
    """On which terms a call is let in.

    scope: what it needs; None: nothing. is_inference: it takes part in the limits of its client.
    """

    scope: Scope | None
    is_inference: bool = False


@dataclass(frozen=True, slots=True)
class Boundary:
    """What every call passes. gate: knows whose call it is."""

    tracing: Tracing
    gate: Gate

    def endpoint(self, operation: str, terms: Terms, handler: Handler) -> Endpoint:
        """What Starlette routes to. operation: method and path, as spans and logs name it."""

        async def answer(request: Request) -> Response:
            call = _call(request)
            try:
                room = self._admit(request.headers, terms)
            except (Unauthenticated, PermissionDenied) as error:
                return _refused(error, call.request_id, operation)
            with self.tracing.span(operation, call.request_id, dict(request.headers)) as span:
                try:
                    with room:
                        response = await handler(request, call)
                except (CallerLeftError, ClientDisconnect):
                    span.fail("CANCELLED")
                    response = Response(status_code=CALLER_LEFT)
                except Exception as error:  # noqa: BLE001 - the boundary: nothing passes it unmapped
                    span.fail(status_of(error).grpc.name)
                    response = _refused(error, call.request_id, operation)
            response.headers[REQUEST_ID] = call.request_id
            return response

        return answer

    def guarded(self, scope: Scope, endpoint: Endpoint) -> Endpoint:
        """An endpoint that is no call of the protocol, and has no id and no span, for those with a scope."""

        async def answer(request: Request) -> Response:
            try:
                self._admit(request.headers, Terms(scope))
            except (Unauthenticated, PermissionDenied) as error:
                return _refused(error, _call(request).request_id, quote_came(request.url.path))
            return await endpoint(request)

        return answer

    def has_scope(self, request: Request, scope: Scope) -> bool:
        """Where only the answer differs by it."""
        return self.gate.is_known(request.headers.getlist(AUTHORIZATION), scope)

    async def unknown_path(self, request: Request, error: Exception) -> Response:
        """Starlette's handler of what nothing is routed to; strangers are not told what that is."""
        if not isinstance(error, HTTPException):
            raise TypeError("only HTTPException is routed here") from error

        async def say_so(_: Request) -> Response:
            return routing_refusal(error, request.method, request.scope["path"], _call(request).request_id)

        return await self.guarded("inference", say_so)(request)

    def _admit(self, headers: Headers, terms: Terms) -> AbstractContextManager[None]:
        """The block in which the call is answered. Raises Unauthenticated, PermissionDenied."""
        if terms.scope is None or (self.gate.is_open and terms.scope != "admin"):
            return ANY_ROOM
        given = headers.getlist(AUTHORIZATION)
        room = self.gate.admit(given, terms.scope)
        if terms.scope == "admin" and is_of_web_page(headers):
            self.gate.note_denial(given)
            raise PermissionDenied("a web page may not ask for this: it came with Origin or Sec-Fetch-Site")
        return room if terms.is_inference else ANY_ROOM


def _call(request: Request) -> Call:
    given = request.headers.get(REQUEST_ID, "")
    own = request_id(given)
    return Call(own, own == given)


def _refused(error: Exception, own_id: str, operation: str) -> Response:
    code = status_of(error).http
    if code is HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("call failed", method=operation, request_id=own_id, exc_info=error)
    else:
        log.debug("call refused", method=operation, request_id=own_id, code=code.value, reason=str(error))
    return refusal(error, own_id)
