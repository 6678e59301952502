"""A tensor of any datatype, shape and content: to rows, or refused, by the gateway and by the handler alike."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np

from fuzz.signatures import DOCUMENTS, NAMES, SIGNATURES
from fuzz.target import Cursor, Target, check_words
from seqserve.errors import InvalidRequest
from seqserve.signature import Signature
from seqserve.tensors import (
    MAX_REQUEST_EXAMPLES,
    FloatArray,
    RawTensor,
    count_pictures,
    decode,
    join_bytes,
    split_bytes,
)
from seqserve_models import handler
from support.contract import Case, cases, content_of, framed_bytes

DATATYPES = ("FP32", "FP16", "BF16", "UINT8", "INT8", "INT16", "UINT16", "BYTES", "FP64", "INT64", "")
SIZES = (-1, 0, -(2**63), 2**31, 2**32, 2**62, 2**63 - 1, 28, 784, 1024, 1025)
WRITTEN_OUT, MOST_RANK, SMALL = 255, 10, 64
MOST_FITTED = 4096


def check(data: bytes) -> None:
    """Read a tensor both ways."""
    cursor = Cursor(data)
    name, datatype = cursor.choice(NAMES), cursor.choice(DATATYPES)
    shape = tuple(_size(cursor) for _ in range(cursor.number() % MOST_RANK))
    is_fitted, content = cursor.number() % 2 == 1, cursor.rest()
    if is_fitted:
        content = _fitted(content, shape)
    signature = SIGNATURES[name]
    tensor = RawTensor(signature.input.name, datatype, shape, content)
    if datatype == "BYTES":
        _check_framed(tensor, signature)
        return
    ours = _by_gateway(tensor, signature)
    theirs = _by_handler(tensor, name)
    np.testing.assert_array_equal(ours, theirs)
    if not isinstance(ours, str):
        check_rows(ours, signature)


def check_rows(rows: FloatArray, signature: Signature) -> None:
    """What every engine relies on."""
    assert rows.dtype == np.float32
    assert rows.shape[1:] == signature.input.example_shape
    assert 1 <= len(rows) <= MAX_REQUEST_EXAMPLES
    assert rows.flags.c_contiguous
    assert rows.flags.aligned
    assert np.isfinite(rows).all()
    assert signature.minimum is None or rows.min() >= signature.minimum
    assert signature.maximum is None or rows.max() <= signature.maximum


def _by_gateway(tensor: RawTensor, signature: Signature) -> FloatArray | str:
    try:
        return decode(tensor, signature)
    except InvalidRequest as refused:
        check_words(refused)
        return refused.detail


def _by_handler(tensor: RawTensor, name: str) -> FloatArray | str:
    content = bytearray(tensor.content)
    try:
        return handler.decode(content, tensor.datatype, tensor.shape, DOCUMENTS[name], MAX_REQUEST_EXAMPLES)
    except handler.Refused as refused:
        return refused.reason


def _check_framed(tensor: RawTensor, signature: Signature) -> None:
    try:
        count = count_pictures(tensor, signature)
        pictures = split_bytes(tensor, signature)
    except InvalidRequest as refused:
        check_words(refused)
        return
    assert len(pictures) == count
    assert join_bytes(pictures) == bytes(tensor.content)


def _size(cursor: Cursor) -> int:
    first = cursor.number()
    if first == WRITTEN_OUT:
        return int(struct.unpack("<q", cursor.take(8).ljust(8, b"\0"))[0])
    return first if first < SMALL else SIZES[first % len(SIZES)]


def _fitted(content: bytes, shape: Sequence[int]) -> bytes:
    """The content again and again, up to some thousand bytes that a shape may have room for."""
    elements = math.prod(shape)
    length = elements * 4 if 0 < elements <= MOST_FITTED // 4 else len(content)
    return (content * (length // len(content) + 1))[:length] if content else bytes(length)


def _written(signature: str, datatype: str, shape: Sequence[int], content: bytes) -> bytes:
    """An input that `check` reads as this tensor."""
    sizes = b"".join(
        bytes([size]) if 0 <= size < SMALL else bytes([WRITTEN_OUT]) + struct.pack("<q", size)
        for size in shape
        if -(2**63) <= size < 2**63
    )
    kind = DATATYPES.index(datatype) if datatype in DATATYPES else len(DATATYPES) - 1
    return bytes([NAMES.index(signature), kind, len(shape) % MOST_RANK]) + sizes + b"\0" + content


def _seed(case: Case) -> bytes:
    return _written(case["signature"], case["datatype"], case["shape"], content_of(case))


def seeds() -> list[bytes]:
    """The contract's tensors and framed bytes."""
    framed = [
        _written("tiny_image", "BYTES", case["shape"], framed_bytes(case["content"]))
        for case in cases("framing.json")
    ]
    return [seed for seed in map(_seed, cases("decoding.json")) if len(seed) <= TARGET.max_bytes] + framed


TARGET = Target("tensors", check, seeds, (b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\x3f", b"\0\0\0\x80"))
