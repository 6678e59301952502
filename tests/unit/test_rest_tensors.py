"""Tensors as JSON: the contract's cases read as gRPC reads them, and what JSON alone can get wrong."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seqserve.errors import InvalidRequest
from seqserve.http_api.json_tensors import array_text, pack, pack_base64
from seqserve.signature import Signature
from seqserve.tensors import RawTensor, decode, join_bytes, split_bytes
from support.contract import Case, cases, content_of, rows_of, signature_document

STORED = {"FP32": "<f4", "INT8": "i1", "UINT8": "u1", "INT16": "<i2", "UINT16": "<u2"}
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def in_json(case: Case) -> list[Any] | None:
    """The content of a contract case as a JSON array; None where none can say it."""
    content, stored = content_of(case), STORED.get(case["datatype"])
    if stored is None:
        return None if case["datatype"] in ("FP16", "BF16", "BYTES") else [0]
    if len(content) % np.dtype(stored).itemsize:
        return None
    numbers = np.frombuffer(content, stored)
    return numbers.tolist() if np.isfinite(numbers).all() else None


DECODING = [(case, data) for case in cases("decoding.json") if (data := in_json(case)) is not None]


@pytest.mark.parametrize(("case", "data"), DECODING, ids=[case["case"] for case, _ in DECODING])
def test_a_contract_case_means_the_same_in_json(case: Case, data: list[Any]) -> None:
    signature = Signature.parse(signature_document(case["signature"]))
    content = pack(json.loads(json.dumps(data)), "image", case["datatype"], case["shape"])
    tensor = RawTensor(signature.input.name, case["datatype"], tuple(case["shape"]), content)
    if "error" not in case:
        expected = rows_of(case)
        np.testing.assert_array_equal(decode(tensor, signature).reshape(expected.shape), expected)
        return
    with pytest.raises(InvalidRequest) as refusal:
        decode(tensor, signature)
    assert refusal.value.detail == case["error"]


def test_most_contract_cases_can_be_said_in_json() -> None:
    assert len(DECODING) > 80
    assert {case.get("error") for case, _ in DECODING} >= {
        None, "DATATYPE_NOT_ACCEPTED", "RANK_NOT_ACCEPTED", "DIMENSION_NOT_POSITIVE", "SHAPE_OVERFLOW",
        "SHAPE_NOT_ACCEPTED", "TOO_MANY_EXAMPLES", "BYTE_LENGTH_MISMATCH", "OUT_OF_RANGE",
    }  # fmt: skip


@given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=1, max_dims=4, max_side=4), elements=FLOATS))
def test_nested_and_flat_arrays_are_the_same_bytes(array: np.ndarray[Any, Any]) -> None:
    nested = pack(json.loads(json.dumps(array.tolist())), "x", "FP32", array.shape)
    assert nested == pack(array.ravel().tolist(), "x", "FP32", array.shape) == array.astype("<f4").tobytes()


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=FLOATS))
def test_an_answer_reads_back_as_the_same_numbers(rows: np.ndarray[Any, Any]) -> None:
    np.testing.assert_array_equal(np.array(json.loads(array_text(rows)), np.float32), rows.ravel())


def test_a_long_answer_has_every_number_once() -> None:
    rows = np.arange(100_000, dtype=np.float32).reshape(100, 1000)
    assert json.loads(array_text(rows)) == list(range(100_000))


@pytest.mark.parametrize(
    ("data", "datatype", "shape", "reason", "words"),
    [
        (0.5, "FP32", [1], "CONTENTS_FIELD", "0.5"),
        ({}, "FP32", [1], "CONTENTS_FIELD", "an object"),
        (["a"], "FP32", [1], "CONTENTS_FIELD", "'a'"),
        ([None], "FP32", [1], "CONTENTS_FIELD", "null"),
        ([0.5, True], "FP32", [2], "CONTENTS_FIELD", "true"),
        ([0.5, [0.5]], "FP32", [2], "CONTENTS_FIELD", "an array of 1"),
        ([[0.5], 0.5], "FP32", [2, 1], "CONTENTS_FIELD", "0.5"),
        ([[0.5], [0.5, 0.5]], "FP32", [2, 2], "DATA_NESTING", "different lengths"),
        ([[0.5, 0.5]], "FP32", [2, 1], "DATA_NESTING", "[1, 2]"),
        ([[0.5, 0.5]], "FP32", [2], "DATA_NESTING", "[1, 2]"),
        ([10**400], "FP32", [1], "OUT_OF_RANGE", "hundreds of digits"),
        ([1, 256], "UINT8", [2], "OUT_OF_RANGE", "256"),
        ([-1], "UINT16", [1], "OUT_OF_RANGE", "0 to 65535"),
        ([0.5], "INT8", [1], "OUT_OF_RANGE", "integers from -128 to 127"),
        ([1e300], "INT16", [1], "OUT_OF_RANGE", "1e+300"),
        ([0.5], "FP16", [1], "CONTENTS_FIELD", "binary extension"),
        ([0.5], "BF16", [1], "CONTENTS_FIELD", "binary extension"),
    ],
)
def test_what_is_no_tensor_is_refused(
    data: object, datatype: str, shape: list[int], reason: str, words: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        pack(data, "x", datatype, shape)
    assert refusal.value.detail == reason
    assert refusal.value.field == "x"
    assert words in str(refusal.value)


def test_a_whole_number_is_an_integer_however_it_is_written() -> None:
    assert pack([255.0, 1e1], "x", "UINT8", [2]) == bytes([255, 10])


def test_a_number_beyond_fp32_is_infinite_and_so_refused() -> None:
    line = Signature.parse(signature_document("line"))
    with pytest.raises(InvalidRequest) as refusal:
        decode(RawTensor("x", "FP32", (1,), pack([1e39], "x", "FP32", [1])), line)
    assert refusal.value.detail == "NOT_FINITE"


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_base64_strings_are_the_bytes_they_hold(elements: list[bytes]) -> None:
    texts = [base64.b64encode(element).decode() for element in elements]
    content = pack_base64(texts, "image", [len(elements)])
    assert content == join_bytes(elements)
    tiny = Signature.parse(signature_document("tiny_image"))
    assert split_bytes(RawTensor("image", "BYTES", (len(elements),), content), tiny) == elements


@pytest.mark.parametrize(
    ("data", "reason"),
    [(["not base64!"], "BASE64"), (["é"], "BASE64"), ([1], "CONTENTS_FIELD"), ("aGk=", "CONTENTS_FIELD")],
)
def test_what_is_no_base64_is_refused(data: object, reason: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        pack_base64(data, "image", [1])
    assert refusal.value.detail == reason
