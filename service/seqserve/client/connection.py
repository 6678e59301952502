"""How both clients talk to a gateway: options of the channel, retries, and the id of a call."""

from __future__ import annotations

import json
import re
import uuid

MAX_MESSAGE_BYTES = 64 * 2**20
KEEPALIVE_MS = 30_000  # a stream to a gateway that is gone ends; the gateway allows one in 10 s
REQUEST_ID = "x-request-id"
REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")
MOST_ATTEMPTS = 5  # gRPC's own limit
MOST_BYTES = 2**31 - 1  # gRPC's own, too

Metadata = tuple[tuple[str, str], ...]


def channel_options(max_attempts: int, max_message_bytes: int) -> list[tuple[str, int | str]]:
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
    """What makes gRPC try again by itself, on UNAVAILABLE only and with the same metadata."""
    method: dict[str, object] = {"name": [{"service": "seqserve.v1.PredictionService"}]}
    if max_attempts > 1:
        method["retryPolicy"] = {
            "maxAttempts": max_attempts,
            "initialBackoff": "0.1s",
            "maxBackoff": "2s",
            "backoffMultiplier": 3,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
    return {"methodConfig": [method]}


def id_of_call(given: str) -> str:
    """The caller's id, or a new one. Every try of a call has the same, so a canary chooses once.

    Raises ValueError for an id that the gateway would replace.
    """
    if given and not REQUEST_ID_PATTERN.fullmatch(given):
        raise ValueError(f"request_id: {given!r}; accepted: 1 to 64 letters, digits, dots, _ and -")
    return given or uuid.uuid4().hex


def metadata_of(request_id: str) -> Metadata:
    """What a call sends beside its message."""
    return ((REQUEST_ID, request_id),)
