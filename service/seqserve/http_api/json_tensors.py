"""Tensors written as JSON: arrays, flat or nested as their shape, to little-endian bytes, and back.

Long arrays are gone through in pieces, so that a thread that does so lets the others have their turn.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from seqserve.errors import InvalidRequest
from seqserve.http_api.strict_json import words
from seqserve.tensors import FloatArray, join_bytes

PIECE = 2**14
"""Elements of a piece: some milliseconds."""
BASE64 = "base64"
"""The content type, as MLServer has it, of BYTES whose strings are base64."""

# OIP datatypes that a JSON array can hold → how they lie in bytes; the decoder refuses all others.
_STORED = {"FP32": "<f4", "INT8": "<i1", "UINT8": "<u1", "INT16": "<i2", "UINT16": "<u2"}
_BINARY_ONLY = ("FP16", "BF16")


def pack(data: object, name: str, datatype: str, shape: Sequence[int]) -> bytes:
    """The numbers of an input's `data` as bytes of its datatype.

    As many as came, whatever the shape claims; none for datatypes that nobody takes. Raises
    InvalidRequest for what are no numbers, and for arrays that are nested in another way than the shape.
    """
    if datatype in _BINARY_ONLY:
        raise InvalidRequest(
            "CONTENTS_FIELD", field=name, came=f"{datatype} in JSON",
            accepted="the binary extension for this datatype",
        )  # fmt: skip
    if datatype not in _STORED:
        return b""
    flat = _flatten(data, name, shape)
    _check_kinds(flat, {int, float}, name, "numbers")
    numbers = _numbers(flat, name)
    if datatype != "FP32":
        _check_integers(numbers, name, datatype)
    with np.errstate(over="ignore"):  # beyond FP32's range becomes infinity, which the decoder refuses
        return numbers.astype(_STORED[datatype]).tobytes()


def pack_base64(data: object, name: str, shape: Sequence[int]) -> bytes:
    """BYTES in raw form, of strings that hold them as base64. Raises InvalidRequest."""
    texts = _flatten(data, name, shape)
    _check_kinds(texts, {str}, name, "strings")
    return join_bytes(_base64(text, name) for text in texts)


def array_text(rows: FloatArray) -> str:
    """Rows [n, *output] as one flat JSON array; each number reads back as the same FP32."""
    return f"[{','.join(_texts(rows.ravel()))}]"


def _texts(flat: FloatArray) -> Iterator[str]:
    for start in range(0, len(flat), PIECE):
        yield json.dumps(flat[start : start + PIECE].tolist(), separators=(",", ":"))[1:-1]


def _flatten(data: object, name: str, shape: Sequence[int]) -> list[Any]:
    """The elements, row-major."""
    if not isinstance(data, list):
        raise InvalidRequest("CONTENTS_FIELD", field=name, came=words(data), accepted="an array in `data`")
    sizes, level = [len(data)], data
    while level and type(level[0]) is list:
        _check_kinds(level, {list}, name, "arrays beside arrays")
        sizes.append(len(level[0]))
        if any(len(part) != sizes[-1] for part in level):
            raise _nesting_fault(name, "arrays of different lengths", shape)
        level = list(chain.from_iterable(level))
    if len(sizes) > 1 and sizes != list(shape):
        raise _nesting_fault(name, f"arrays nested as {sizes}", shape)
    return level


def _check_kinds(elements: list[Any], accepted: set[type], name: str, accepted_words: str) -> None:
    for start in range(0, len(elements), PIECE):
        if not accepted.issuperset(map(type, elements[start : start + PIECE])):
            wrong = next(element for element in elements[start:] if type(element) not in accepted)
            raise InvalidRequest("CONTENTS_FIELD", field=name, came=words(wrong), accepted=accepted_words)


def _numbers(flat: list[Any], name: str) -> npt.NDArray[np.float64]:
    numbers = np.empty(len(flat))  # every integer that a datatype takes is exact in it
    try:
        for start in range(0, len(flat), PIECE):
            numbers[start : start + PIECE] = flat[start : start + PIECE]
    except OverflowError as error:
        raise InvalidRequest(
            "OUT_OF_RANGE", field=name, came="an integer of hundreds of digits", accepted="numbers of 64 bits"
        ) from error
    return numbers


def _check_integers(numbers: npt.NDArray[np.float64], name: str, datatype: str) -> None:
    bounds = np.iinfo(_STORED[datatype])
    wrong = numbers[(numbers < bounds.min) | (numbers > bounds.max) | (numbers != np.floor(numbers))]
    if len(wrong):
        raise InvalidRequest(
            "OUT_OF_RANGE", field=name, came=f"{wrong[0]:g}",
            accepted=f"integers from {bounds.min} to {bounds.max} for {datatype}",
        )  # fmt: skip


def _base64(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise InvalidRequest(
            "BASE64", field=name, came=words(text), accepted="base64 in every string, as content_type says"
        ) from error


def _nesting_fault(name: str, came: str, shape: Sequence[int]) -> InvalidRequest:
    accepted = f"a flat array, or arrays nested as {list(shape)}"
    return InvalidRequest("DATA_NESTING", field=name, came=came, accepted=accepted)
