"""How both clients talk to a gateway: the channel, retries, the token, and the id of a call."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Self

import grpc

from seqserve.client.errors import HandshakeFailed, PredictionError, error_of_call
from seqserve.client.handshakes import handshake_fault
from seqserve.client.tls import Tls
from seqserve.client.tokens import Token, authorization, is_loopback
from seqserve.client.traces import trace_metadata

MAX_MESSAGE_BYTES = 64 * 2**20
KEEPALIVE_MS = 30_000  # a stream to a gateway that is gone ends; the gateway allows one in 10 s
REQUEST_ID = "x-request-id"
REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")
MOST_ATTEMPTS = 5  # gRPC's own limit
MOST_BYTES = 2**31 - 1  # gRPC's own, too
RETRY_TOKENS = 100  # half of them may be spent: so many tries in a row
TOKENS_OF_A_SUCCESS = 1.0  # where some gateway answers, as many tries as there are answers

Metadata = tuple[tuple[str, str], ...]
Options = list[tuple[str, int | str]]


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a client connects to, and as whom."""

    address: str
    options: Options
    token: Token | None = field(default=None, repr=False)
    tls: Tls | None = None

    @classmethod
    def checked(
        cls,
        address: str,
        options: Options,
        *,
        token: Token | None,
        tls: bool | Tls,
        allow_plaintext_token: bool,
    ) -> Self:
        """One that gives no token away. Raises ValueError where it would, or could not be sent."""
        if isinstance(token, str):
            authorization(token)
        chosen = Tls() if tls is True else tls or None
        if token is None or chosen is not None:
            return cls(address, options, token, chosen)
        if is_loopback(address):  # and nowhere else, whatever http_proxy says
            return cls(address, [*options, ("grpc.enable_http_proxy", 0)], token)
        if not allow_plaintext_token:
            raise ValueError(
                f"token: it would go to {address} for everybody on the way to read; give `tls`, or "
                f"allow_plaintext_token=True where something else encrypts"
            )
        return cls(address, options, token)

    def channel(self) -> grpc.Channel:
        """A new one. Raises OSError for certificates that cannot be read."""
        if self.tls is None:
            return grpc.insecure_channel(self.address, options=self.options)
        options = [*self.options, *self.tls.channel_options()]
        return grpc.secure_channel(self.address, self.tls.credentials(), options=options)

    def aio_channel(self) -> grpc.aio.Channel:
        """The same for asyncio."""
        if self.tls is None:
            return grpc.aio.insecure_channel(self.address, options=self.options)
        options = [*self.options, *self.tls.channel_options()]
        return grpc.aio.secure_channel(self.address, self.tls.credentials(), options=options)

    def metadata(self, request_id: str) -> Metadata:
        """What a call sends beside its message; raises what a `token` of the caller's raises."""
        named = ((REQUEST_ID, request_id), *trace_metadata())
        return named if self.token is None else (*named, authorization(self.token))

    def error_of(self, error: grpc.RpcError, request_id: str) -> PredictionError:
        """What a call raises for what gRPC raises. request_id: the one that was sent."""
        found = error_of_call(error, request_id)
        if found.is_unreachable and (fault := handshake_fault(str(found), self.address, self.tls)):
            return HandshakeFailed(fault, request_id)
        return found


def channel_options(max_attempts: int, max_message_bytes: int) -> Options:
    """Options for gRPC. Raises ValueError for an impossible number of attempts or bytes."""
    if not 1 <= max_attempts <= MOST_ATTEMPTS:
        raise ValueError(f"max_attempts: {max_attempts}; accepted: 1 to {MOST_ATTEMPTS}")
    if not 1 <= max_message_bytes <= MOST_BYTES:
        raise ValueError(f"max_message_bytes: {max_message_bytes}; accepted: 1 to {MOST_BYTES}")
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.service_config", json.dumps(service_config(max_attempts))),
    ]


def service_config(max_attempts: int) -> dict[str, object]:
    """What makes gRPC take turns over all addresses of a name, and try again by itself.

    That at the next address that has a connection, with the same metadata, and only where a gateway is not
    there for it: UNAVAILABLE, and the CANCELLED of a gRPC server that stops before it has begun with a call.
    A call that the caller cancels has no other try. No more tries than the budget allows: where every call
    fails, they would multiply the load of a gateway that is down.
    """
    method: dict[str, object] = {"name": [{"service": "seqserve.v1.PredictionService"}]}
    config: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [method]}
    if max_attempts == 1:
        return config
    method["retryPolicy"] = {
        "maxAttempts": max_attempts,
        "initialBackoff": "0.1s",
        "maxBackoff": "2s",
        "backoffMultiplier": 3,
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    }
    budget = {"maxTokens": RETRY_TOKENS, "tokenRatio": TOKENS_OF_A_SUCCESS}
    return config | {"retryThrottling": budget}


def id_of_call(given: str) -> str:
    """The caller's id, or a new one. Every try of a call has the same, so a canary chooses once.

    Raises ValueError for an id that the gateway would replace.
    """
    if given and not REQUEST_ID_PATTERN.fullmatch(given):
        raise ValueError(f"request_id: {given!r}; accepted: 1 to 64 letters, digits, dots, _ and -")
    return given or uuid.uuid4().hex
