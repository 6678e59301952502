"""The one place where a call gets its id, and where errors become HTTP answers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from seqserve.access.gate import ANY_ROOM, Gate
from seqserve.access.tokens import AUTHORIZATION
from seqserve.call_log import CallLine, log_answered, log_failed, log_refused
from seqserve.client_settings import Scope
from seqserve.errors import PermissionDenied, Unauthenticated, quote_came
from seqserve.http_api.departures import CallerLeftError
from seqserve.http_api.refusals import refusal, routing_refusal
from seqserve.http_api.web_pages import is_of_web_page
from seqserve.logs import is_logged
from seqserve.request_ids import REQUEST_ID, canary_key, request_id
from seqserve.status import status_of
from seqserve.tracing import Tracing, trace_id_of

FIRST_ERROR = 400
CALLER_LEFT = 499
"""What nginx logs for it; nobody receives it."""


@dataclass(slots=True)
class Call:
    """What a handler may know of the call beside its request, and what the predictor tells of it.

    is_given: the caller sent a request id, and `request_id` is that one.
    model, version, examples: see Asker; at first as the path says.
    """

    request_id: str
    is_given: bool
    model: str = ""
    version: str = ""
    examples: int = 0

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
                return _refused(error, _line(operation, call, request))
            started = time.perf_counter()
            with self.tracing.span(operation, call.request_id, request.headers) as span:
                try:
                    with room:
                        response = await handler(request, call)
                except (CallerLeftError, ClientDisconnect):
                    span.note_code("CANCELLED")
                    response = Response(status_code=CALLER_LEFT)
                except Exception as error:  # noqa: BLE001 - the boundary: nothing passes it unmapped
                    span.fail(error)
                    response = _refused(error, _line(operation, call, request, span.trace_id))
                if is_logged("debug") and response.status_code < FIRST_ERROR:
                    seconds, line = (
                        time.perf_counter() - started,
                        _line(operation, call, request, span.trace_id),
                    )
                    log_answered(line, response.status_code, seconds=seconds, examples=call.examples)
            response.headers[REQUEST_ID] = call.request_id
            return response

        return answer

    def guarded(self, scope: Scope, endpoint: Endpoint) -> Endpoint:
        """An endpoint that is no call of the protocol, and has no id and no span, for those with a scope."""

        async def answer(request: Request) -> Response:
            try:
                self._admit(request.headers, Terms(scope))
            except (Unauthenticated, PermissionDenied) as error:
                return _refused(error, _line(quote_came(request.url.path), _call(request), request))
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
    path = request.path_params
    return Call(own, own == given, path.get("model", ""), path.get("version", ""))


def _line(operation: str, call: Call, request: Request, trace_id: str = "") -> CallLine:
    trace_id = trace_id or trace_id_of(request.headers)
    return CallLine(operation, call.request_id, trace_id, call.model, call.version)


def _refused(error: Exception, line: CallLine) -> Response:
    code = status_of(error).http
    log = log_failed if code is HTTPStatus.INTERNAL_SERVER_ERROR else log_refused
    log(line, code.value, error)
    return refusal(error, line.request_id)
