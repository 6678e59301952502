"""Errors → gRPC and HTTP codes, and google.rpc.Status with its details: the only place that knows."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import StatusCode

from seqserve import errors
from seqserve.shortage import NO_THREAD

DOMAIN = "seqserve"
MOST_RETRY_SECONDS = 86400.0


class Status(NamedTuple):
    """One error's code on either wire."""

    grpc: StatusCode
    http: HTTPStatus


TABLE: dict[type[errors.SeqserveError], Status] = {
    errors.InvalidRequest: Status(StatusCode.INVALID_ARGUMENT, HTTPStatus.BAD_REQUEST),
    errors.UnsupportedMedia: Status(StatusCode.INVALID_ARGUMENT, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    errors.Unauthenticated: Status(StatusCode.UNAUTHENTICATED, HTTPStatus.UNAUTHORIZED),
    errors.PermissionDenied: Status(StatusCode.PERMISSION_DENIED, HTTPStatus.FORBIDDEN),
    errors.MessageTooLarge: Status(StatusCode.RESOURCE_EXHAUSTED, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    errors.LoadInProgress: Status(StatusCode.ABORTED, HTTPStatus.CONFLICT),
    errors.NotFound: Status(StatusCode.NOT_FOUND, HTTPStatus.NOT_FOUND),
    errors.Overloaded: Status(StatusCode.RESOURCE_EXHAUSTED, HTTPStatus.TOO_MANY_REQUESTS),
    errors.Unavailable: Status(StatusCode.UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE),
    errors.DeadlineExceeded: Status(StatusCode.DEADLINE_EXCEEDED, HTTPStatus.GATEWAY_TIMEOUT),
    errors.EngineContractError: Status(StatusCode.INTERNAL, HTTPStatus.INTERNAL_SERVER_ERROR),
    errors.StartFault: Status(StatusCode.INTERNAL, HTTPStatus.INTERNAL_SERVER_ERROR),
}
UNKNOWN = Status(StatusCode.INTERNAL, HTTPStatus.INTERNAL_SERVER_ERROR)


def in_our_words(error: BaseException) -> BaseException:
    """The error itself; a want of memory or of threads is overload, whoever met it."""
    if isinstance(error, MemoryError):
        return errors.Overloaded("no memory for this request")
    if type(error) is RuntimeError and str(error) == NO_THREAD:
        return errors.Overloaded("no thread for this request")
    return error


def status_of(error: BaseException) -> Status:
    """The row of the nearest ancestor in TABLE; INTERNAL for anything that is not ours."""
    kinds = type(in_our_words(error)).__mro__
    return next((TABLE[kind] for kind in kinds if kind in TABLE), UNKNOWN)


def describe(error: BaseException, request_id: str) -> status_pb2.Status:
    """What a client may know: code, words, ErrorInfo and, where they fit, field violations and RetryInfo.

    An INTERNAL error's own text stays in the log; the client gets the request id to ask about.
    """
    error = in_our_words(error)
    code = status_of(error).grpc
    if code is StatusCode.INTERNAL:
        return _status(code, f"internal error; request id {request_id}", "INTERNAL", request_id)
    reason = (
        error.detail if isinstance(error, errors.InvalidRequest) else getattr(error, "reason", "INTERNAL")
    )
    status = _status(code, str(error), reason, request_id)
    if isinstance(error, errors.InvalidRequest):
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=str(error))
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, errors.Overloaded | errors.Unavailable):
        delay = Duration()
        delay.FromNanoseconds(int(retry_seconds(error) * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def retry_seconds(error: errors.Overloaded | errors.Unavailable) -> float:
    """After which time a caller may try again: a day at most, which every field for it can hold."""
    return min(error.retry_after_seconds, MOST_RETRY_SECONDS)


def _status(code: StatusCode, message: str, reason: str, request_id: str) -> status_pb2.Status:
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=message)
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata={"request_id": request_id})
    status.details.add().Pack(info)
    return status
