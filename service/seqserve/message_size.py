"""How large a message may be: as set, or as the models need it."""

from __future__ import annotations

from collections.abc import Iterable

from seqserve.signature import Signature

FLOOR_BYTES = 16 * 2**20
SLACK_BYTES = 64 * 2**10
"""Names, shapes and parameters around the numbers."""


def message_limit_bytes(wished: int, signatures: Iterable[Signature], max_request_examples: int) -> int:
    """The wish, or for 0 what the largest request of these models takes in FP32, at least 16 MiB."""
    if wished:
        return wished
    numbers = max((signature.elements for signature in signatures), default=0)
    return max(FLOOR_BYTES, min(max_request_examples * numbers * 4 + SLACK_BYTES, 2**31 - 1))
