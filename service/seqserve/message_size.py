"""How large a message may be: as set, or as the models need it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from seqserve.signature import Signature

FLOOR_BYTES = 16 * 2**20
MOST_BYTES = 2**31 - 1
SLACK_BYTES = 64 * 2**10
"""Names, shapes and parameters around the numbers."""
LABEL_BYTES = 64
"""What our own API says of an example beside its numbers."""


def message_limit_bytes(wished: int, signatures: Iterable[Signature], max_request_examples: int) -> int:
    """The wish, or for 0 what the largest request or reply of these models takes, at least 16 MiB."""
    if wished:
        return wished
    needed = max((needed_bytes(signature, max_request_examples) for signature in signatures), default=0)
    return max(FLOOR_BYTES, min(needed, MOST_BYTES))


def needed_bytes(signature: Signature, examples: int) -> int:
    """What so many examples take in FP32 as bytes, on the way in or on the way out, whichever is more."""
    answers = 4 * math.prod(signature.output.example_shape) + LABEL_BYTES
    return examples * max(4 * signature.elements, answers) + SLACK_BYTES
