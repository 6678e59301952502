"""Errors on the wire: a code for every one of them, details that help, and nothing internal."""

from __future__ import annotations

import json

import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import StatusCode

from seqserve import errors
from seqserve.http_api.refusals import refusal
from seqserve.status import TABLE, describe, status_of

INVALID = errors.InvalidRequest("SHAPE_NOT_ACCEPTED", field="image", came=[2, 14], accepted="[784]")
INTERNAL = [
    errors.EngineContractError("answered NaN at 10.0.0.7"),
    errors.ArchiveInvalid("/srv/models is broken"),
    errors.SeqserveError("an error without a row"),
    RuntimeError("the password is swordfish"),
]


def tree(root: type[errors.SeqserveError]) -> list[type[errors.SeqserveError]]:
    return [kind for below in root.__subclasses__() for kind in (below, *tree(below))]


def details(status: status_pb2.Status) -> dict[str, Message]:
    """google.rpc details by short name."""
    found: dict[str, Message] = {}
    for packed in status.details:
        kind: type[Message] = getattr(error_details_pb2, packed.TypeName().rpartition(".")[2])
        message = kind()
        packed.Unpack(message)
        found[kind.DESCRIPTOR.name] = message
    return found


@pytest.mark.parametrize("kind", tree(errors.SeqserveError), ids=lambda kind: kind.__name__)
def test_every_error_has_a_row_of_its_own_or_of_an_ancestor_below_the_root(
    kind: type[errors.SeqserveError],
) -> None:
    assert any(ancestor in TABLE for ancestor in kind.__mro__ if ancestor is not errors.SeqserveError)


@pytest.mark.parametrize(
    ("error", "grpc", "http"),
    [
        (INVALID, StatusCode.INVALID_ARGUMENT, 400),
        (errors.ModelNotFound("nobody"), StatusCode.NOT_FOUND, 404),
        (errors.VersionNotFound("digit", "9", available="1"), StatusCode.NOT_FOUND, 404),
        (errors.ModelNotReady("loading"), StatusCode.UNAVAILABLE, 503),
        (errors.EngineUnavailable("away"), StatusCode.UNAVAILABLE, 503),
        (errors.ShuttingDown("draining"), StatusCode.UNAVAILABLE, 503),
        (errors.Overloaded("full"), StatusCode.RESOURCE_EXHAUSTED, 429),
        (MemoryError("Unable to allocate 49 MiB"), StatusCode.RESOURCE_EXHAUSTED, 429),
        (errors.DeadlineExceeded("late"), StatusCode.DEADLINE_EXCEEDED, 504),
        *[(error, StatusCode.INTERNAL, 500) for error in INTERNAL],
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_codes(error: Exception, grpc: StatusCode, http: int) -> None:
    assert status_of(error) == (grpc, http)
    assert describe(error, "r-1").code == code_pb2.Code.Value(grpc.name)


def test_an_error_below_a_row_takes_the_nearest_one() -> None:
    class NewUnavailable(errors.EngineUnavailable):
        """Not in the table."""

    assert status_of(NewUnavailable("away")).grpc is StatusCode.UNAVAILABLE


@pytest.mark.parametrize("error", INTERNAL, ids=lambda error: type(error).__name__)
def test_an_internal_error_tells_only_the_request_id(error: Exception) -> None:
    status = describe(error, "order-7")

    assert status.message == "internal error; request id order-7"
    info = error_details_pb2.ErrorInfo(
        reason="INTERNAL", domain="seqserve", metadata={"request_id": "order-7"}
    )
    assert details(status) == {"ErrorInfo": info}


def test_an_invalid_request_names_its_field_and_its_own_reason() -> None:
    status = describe(INVALID, "order-7")

    assert status.message == str(INVALID)
    found = details(status)
    assert set(found) == {"ErrorInfo", "BadRequest"}
    assert found["ErrorInfo"] == error_details_pb2.ErrorInfo(
        reason="SHAPE_NOT_ACCEPTED", domain="seqserve", metadata={"request_id": "order-7"}
    )
    violation = error_details_pb2.BadRequest.FieldViolation(field="image", description=str(INVALID))
    assert found["BadRequest"] == error_details_pb2.BadRequest(field_violations=[violation])


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (errors.Overloaded, "OVERLOADED"),
        (errors.ModelNotReady, "MODEL_NOT_READY"),
        (errors.ShuttingDown, "SHUTTING_DOWN"),
    ],
    ids=["Overloaded", "ModelNotReady", "ShuttingDown"],
)
def test_what_is_worth_a_retry_says_when(
    kind: type[errors.Overloaded | errors.Unavailable], reason: str
) -> None:
    found = details(describe(kind("later", retry_after_seconds=2.5), "order-7"))

    assert set(found) == {"ErrorInfo", "RetryInfo"}
    retry, info = found["RetryInfo"], found["ErrorInfo"]
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert (retry.retry_delay.seconds, retry.retry_delay.nanos) == (2, 500_000_000)
    assert info.reason == reason


def test_a_want_of_memory_is_worth_a_retry_and_says_nothing_of_its_own() -> None:
    error = MemoryError("Unable to allocate 49.0 MiB for an array with shape (16384, 784)")
    status, reply = describe(error, "order-7"), refusal(error, "order-7")

    assert set(details(status)) == {"ErrorInfo", "RetryInfo"}
    assert status.message == json.loads(bytes(reply.body))["error"] == "no memory for this request"
    assert (reply.status_code, "Retry-After" in reply.headers) == (429, True)


@pytest.mark.parametrize(
    "error",
    [errors.ModelNotFound("nobody"), errors.DeadlineExceeded("late")],
    ids=lambda it: type(it).__name__,
)
def test_what_a_retry_does_not_cure_has_no_retry_info(error: errors.SeqserveError) -> None:
    status = describe(error, "order-7")

    assert set(details(status)) == {"ErrorInfo"}
    assert status.message == str(error)


@pytest.mark.parametrize("seconds", [1e300, float("inf")])
@pytest.mark.parametrize("kind", [errors.Overloaded, errors.Unavailable])
def test_nobody_is_told_to_come_back_after_more_than_a_day(
    kind: type[errors.Overloaded | errors.Unavailable], seconds: float
) -> None:
    error = kind("not soon", retry_after_seconds=seconds)
    found = details(describe(error, "r-1"))["RetryInfo"]
    assert isinstance(found, error_details_pb2.RetryInfo)
    assert found.retry_delay.seconds == 86400
    reply = refusal(error, "r-1")
    assert reply.headers["retry-after"] == "86400"
    assert json.loads(bytes(reply.body))["retry_after_seconds"] == 86400
