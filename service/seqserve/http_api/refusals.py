"""Errors as HTTP answers: the code, the words and the google.rpc facts that gRPC's callers get as well."""

from __future__ import annotations

import math
from http import HTTPStatus

from google.rpc import error_details_pb2
from starlette.exceptions import HTTPException
from starlette.responses import Response

from seqserve.errors import (
    InvalidRequest,
    Overloaded,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    quote_came,
)
from seqserve.http_api.documents import Refusal
from seqserve.request_ids import REQUEST_ID
from seqserve.status import describe, in_our_words, retry_seconds, status_of


def refusal(error: BaseException, request_id: str) -> Response:
    """What a caller may know of an error; of one that is not theirs, the id to ask about."""
    error = in_our_words(error)
    status = describe(error, request_id)
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    body = Refusal(error=status.message, reason=info.reason, request_id=request_id)
    headers = {}
    if isinstance(error, InvalidRequest):
        body = body.model_copy(update={"field": error.field, "accepted": error.accepted})
    if isinstance(error, Overloaded | Unavailable):
        seconds = retry_seconds(error)
        body = body.model_copy(update={"retry_after_seconds": seconds})
        headers["Retry-After"] = str(math.ceil(seconds))
    if challenge := _challenge(error):
        headers["WWW-Authenticate"] = challenge
    return _response(body, status_of(error).http, headers)


def _challenge(error: BaseException) -> str:
    """What a caller is to come back with, "" where nothing would help. Source: RFC 6750."""
    bearer = 'Bearer realm="seqserve"'
    if isinstance(error, Unauthenticated):
        return f'{bearer}, error="invalid_token"' if error.is_token_given else bearer
    if isinstance(error, PermissionDenied) and error.missing_scope:
        return f'{bearer}, error="insufficient_scope", scope="{error.missing_scope}"'
    return ""


def routing_refusal(error: HTTPException, method: str, path: str, request_id: str) -> Response:
    """Of a path that is not here, or not by that method."""
    reason, words = "UNKNOWN_PATH", f"there is no {quote_came(path)} here; see /openapi.json"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "")
        reason, words = "WRONG_METHOD", f"{quote_came(method)} {quote_came(path)}: accepted: {allowed}"
    body = Refusal(error=words, reason=reason, request_id=request_id)
    return _response(body, error.status_code, dict(error.headers or {}))


def _response(body: Refusal, code: int, headers: dict[str, str]) -> Response:
    text = body.model_dump_json(exclude_none=True)
    return Response(text, code, {**headers, REQUEST_ID: body.request_id}, media_type="application/json")
