"""The client's errors, from what the gateway really sends."""

from __future__ import annotations

import pytest
from google.rpc import code_pb2, status_pb2

from seqserve import errors
from seqserve.client import (
    ClientOverLimit,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    MessageTooLarge,
    NotFound,
    Overloaded,
    PermissionDenied,
    PredictionError,
    Unauthenticated,
    Unavailable,
)
from seqserve.client.errors import error_of_status
from seqserve.status import describe

TRICKY = "x; accepted: anything"


def read(error: Exception) -> PredictionError:
    return error_of_status(describe(error, "order-7"))


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (errors.ModelNotFound("nobody"), NotFound, "MODEL_NOT_FOUND"),
        (errors.ModelNotReady("it loads"), Unavailable, "MODEL_NOT_READY"),
        (errors.Overloaded("full"), Overloaded, "OVERLOADED"),
        (errors.ClientOverLimit("your share"), ClientOverLimit, "CLIENT_OVER_LIMIT"),
        (errors.Unauthenticated("no token"), Unauthenticated, "UNAUTHENTICATED"),
        (errors.PermissionDenied("not for you"), PermissionDenied, "PERMISSION_DENIED"),
        (errors.MessageTooLarge(7), MessageTooLarge, "MESSAGE_TOO_LARGE"),
        (errors.DeadlineExceeded("late"), DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (RuntimeError("secret"), InternalError, "INTERNAL"),
        (errors.LoadInProgress("it loads"), PredictionError, "LOAD_IN_PROGRESS"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_each_kind_has_its_class_and_all_know_code_reason_and_id(
    error: Exception, kind: type[PredictionError], reason: str
) -> None:
    status = describe(error, "order-7")
    found = error_of_status(status)

    assert type(found) is kind
    assert found.code == code_pb2.Code.Name(status.code)
    assert (found.reason, found.request_id, str(found)) == (reason, "order-7", status.message)
    assert not found.is_unreachable


@pytest.mark.parametrize("came", ["[2,14]", TRICKY])
def test_an_invalid_request_says_what_is_accepted_where(came: str) -> None:
    found = read(errors.InvalidRequest("SHAPE", field="image", came=came, accepted="[784] or [28,28]"))

    assert isinstance(found, InvalidRequest)
    assert (found.field, found.accepted, found.reason) == ("image", "[784] or [28,28]", "SHAPE")
    assert came in str(found)


@pytest.mark.parametrize("kind", [errors.Overloaded, errors.ClientOverLimit, errors.EngineUnavailable])
def test_what_is_worth_a_retry_says_when(kind: type[errors.Overloaded | errors.EngineUnavailable]) -> None:
    found = read(kind("not now", retry_after_seconds=0.25))

    assert isinstance(found, Overloaded | Unavailable)
    assert found.retry_after_seconds == 0.25


def test_details_of_kinds_that_a_newer_gateway_may_send_are_passed_over() -> None:
    status = describe(errors.ModelNotFound("nobody"), "order-7")
    status.details.add(type_url="type.googleapis.com/google.rpc.Newer", value=b"\xff")

    assert isinstance(error_of_status(status), NotFound)


def test_without_details_there_are_no_facts() -> None:
    found = error_of_status(status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="no"))

    assert isinstance(found, InvalidRequest)
    assert (found.field, found.accepted, found.reason, found.request_id) == ("", "", "", "")


def test_what_the_end_of_a_gateway_cut_off_is_unavailable() -> None:
    found = error_of_status(status_pb2.Status(code=code_pb2.Code.Value("CANCELLED")))

    assert isinstance(found, Unavailable)
    assert found.code == "CANCELLED"
