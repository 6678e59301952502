"""The best classes of an answer, ranked, and as the protocol's classification extension writes them.

Source: Triton's classification extension of the Open Inference Protocol.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqserve.errors import InvalidRequest
from seqserve.signature import Signature
from seqserve.tensors import FloatArray

PARAMETER = "classification"


def best_indices(row: FloatArray, count: int) -> list[int]:
    """Indices of the largest values of row [classes], best first; ties go to the lower index."""
    return [int(index) for index in np.argsort(-row, kind="stable")[:count]]


def ranked(rows: FloatArray, count: int, labels: Sequence[str]) -> list[list[bytes]]:
    """Rows [n, classes] as n lists of min(count, classes) elements `value:index[:label]`, best first."""
    return [[_element(row, index, labels) for index in best_indices(row, count)] for row in rows]


def check_count(count: object, signature: Signature) -> int:
    """The parameter's value, once it is fit for this model. Raises InvalidRequest."""
    if signature.task != "classification":
        raise _fault(count, f"no such parameter; {signature.name} gives values, not classes")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise _fault(count, "an integer of at least 1")
    return count


def _element(row: FloatArray, index: int, labels: Sequence[str]) -> bytes:
    text = f"{row[index]:f}:{index}"
    return (f"{text}:{labels[index]}" if labels else text).encode()


def _fault(came: object, accepted: str) -> InvalidRequest:
    return InvalidRequest(
        "PARAMETER_NOT_ACCEPTED", field=f"outputs.parameters.{PARAMETER}", came=came, accepted=accepted
    )
