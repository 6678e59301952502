"""What a call may end with instead of an answer, as one tree.

PredictionError        any code of gRPC; `code` is its name
├── InvalidRequest     the model does not accept the input: `field`, `accepted`
├── NotFound           no such model, version or label
├── Unauthenticated    no token came with the call, or one that the gateway does not know
├── PermissionDenied   the gateway knows the token, and it is not good for this call
├── Unavailable        not now; the client has tried again already: `retry_after_seconds`
│   └── HandshakeFailed  somebody listens there, and the connection came to nothing; its text says why
├── Overloaded         the queue is full, or too long for the deadline: `retry_after_seconds`
│   └── ClientOverLimit  the share of this client's token is used up, whatever room there is
├── MessageTooLarge    more bytes than the gateway, or this client, takes in one message
├── DeadlineExceeded   the time of the call ran out
└── InternalError      a fault inside; `request_id` is what to ask the gateway's operator about
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

KINDS: dict[str, type[Message]] = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (error_details_pb2.BadRequest, error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo)
}
ACCEPTED = "; accepted: "
"""Stands in a field violation between what came and what would have been accepted."""
CLIENT_OVER_LIMIT = "CLIENT_OVER_LIMIT"
"""The gateway's reason, which alone tells a client's own limit from a full queue."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the gateway, or gRPC in its stead, says of a call that has no answer.

    details: google.rpc messages by their full names. is_unreachable: nobody answered at all.
    """

    code: str
    message: str
    request_id: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    is_unreachable: bool = False

    def detail(self, kind: type[Message]) -> Any:
        """The detail of that kind, empty where there is none."""
        return self.details.get(kind.DESCRIPTOR.full_name) or kind()


class PredictionError(Exception):
    """The gateway refused, or could not be reached.

    code: gRPC's name of it (`NOT_FOUND`). reason: the gateway's stable word for it (`MODEL_NOT_FOUND`).
    request_id: under which the gateway knows the call. is_unreachable: nobody answered.
    """

    def __init__(self, refusal: Refusal) -> None:
        info = refusal.detail(error_details_pb2.ErrorInfo)
        self.code = refusal.code
        self.reason: str = info.reason
        self.request_id: str = info.metadata.get("request_id", refusal.request_id)
        self.is_unreachable = refusal.is_unreachable
        super().__init__(refusal.message)


class InvalidRequest(PredictionError):
    """The model does not accept the input.

    field: the part of the request that is meant. accepted: what would have been accepted, in words.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        violations = refusal.detail(error_details_pb2.BadRequest).field_violations
        self.field: str = violations[0].field if violations else ""
        self.accepted: str = violations[0].description.rpartition(ACCEPTED)[2] if violations else ""


class NotFound(PredictionError):
    """No such model, version or label."""


class Unauthenticated(PredictionError):
    """No token came with the call, or one that the gateway does not know."""


class PermissionDenied(PredictionError):
    """The gateway knows the token, and it is not good for this call."""


class _WorthRetrying(PredictionError):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        delay = refusal.detail(error_details_pb2.RetryInfo).retry_delay
        self.retry_after_seconds: float = delay.ToNanoseconds() / 1e9


class Unavailable(_WorthRetrying):
    """Not now: the gateway or the model is starting, stopping or away.

    retry_after_seconds: when the gateway thinks that another try may succeed; 0 where it did not say.
    """


class Overloaded(_WorthRetrying):
    """The queue is full, or too long for the call's deadline.

    retry_after_seconds: when the gateway thinks that there is room.
    """


class ClientOverLimit(Overloaded):
    """The client to whom the token belongs has used up its own share, whatever room there is for others.

    retry_after_seconds: when it has a share again.
    """


class HandshakeFailed(Unavailable):
    """Somebody listens there, and TLS, or its absence, let the connection come to nothing.

    The text says why. Another try ends the same until somebody changes a certificate or an option.
    """

    def __init__(self, fault: str, request_id: str) -> None:
        super().__init__(Refusal("UNAVAILABLE", fault, request_id))


class MessageTooLarge(PredictionError):
    """More bytes than one message may have; another try ends the same."""


class DeadlineExceeded(PredictionError):
    """The time of the call ran out."""


class InternalError(PredictionError):
    """A fault inside the gateway; its log tells more under `request_id`."""


BY_CODE: dict[str, type[PredictionError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "NOT_FOUND": NotFound,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "UNAVAILABLE": Unavailable,
    "CANCELLED": Unavailable,  # by the gateway's end; who cancels a call of ours hears it otherwise
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "INTERNAL": InternalError,
}


def error_of(refusal: Refusal) -> PredictionError:
    """The exception that fits."""
    if refusal.detail(error_details_pb2.ErrorInfo).reason == CLIENT_OVER_LIMIT:
        return ClientOverLimit(refusal)
    if refusal.code == "RESOURCE_EXHAUSTED":  # gRPC says so of messages above a limit, without a hint
        has_hint = error_details_pb2.RetryInfo.DESCRIPTOR.full_name in refusal.details
        return Overloaded(refusal) if has_hint else MessageTooLarge(refusal)
    return BY_CODE.get(refusal.code, PredictionError)(refusal)


def error_of_call(error: grpc.RpcError, request_id: str) -> PredictionError:
    """The same from what gRPC raises, sync or aio. request_id: the one that was sent."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # these errors are calls as well
    return error_of(
        Refusal(
            code=error.code().name,
            message=error.details() or "",
            request_id=request_id,
            details=_unpacked(status.details if status else ()),
            is_unreachable=error.code() is grpc.StatusCode.UNAVAILABLE and not error.trailing_metadata(),
        )
    )


def error_of_status(status: status_pb2.Status) -> PredictionError:
    """The same from an error inside a stream."""
    name = code_pb2.Code.Name(status.code)
    return error_of(Refusal(name, status.message, details=_unpacked(status.details)))


def _unpacked(details: Iterable[Packed]) -> dict[str, Any]:
    """Those of known kinds; newer gateways may send more."""
    known = ((packed, packed.type_url.rpartition("/")[2]) for packed in details)
    return {name: KINDS[name].FromString(packed.value) for packed, name in known if name in KINDS}
