"""The id of a call: the caller's own, where it is fit for logs, else a new one."""

from __future__ import annotations

import random
import re

REQUEST_ID = "x-request-id"
"""The header, or gRPC's metadata key, that carries it both ways."""
REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_RANDOM = random.Random()  # noqa: S311 - ids are no secrets; the system's own numbers are a call of the kernel each


def canary_key(call_id: str, own_id: str, *, is_given: bool) -> str:
    """What a retry has in common with what it repeats, as far as the caller gave anything.

    is_given: the caller sent the call's id; own_id: the message's, or "".
    """
    return call_id if is_given or not own_id else own_id


def request_id(given: str) -> str:
    """`given` if it matches REQUEST_ID_PATTERN, else a new one."""
    return given if REQUEST_ID_PATTERN.fullmatch(given) else f"{_RANDOM.getrandbits(128):032x}"
