"""The gateway's decoding against the contract cases that every implementation obeys."""

from __future__ import annotations

import numpy as np
import pytest

from seqserve.errors import InvalidRequest
from seqserve.signature import Signature
from seqserve.tensors import RawTensor, decode, split_bytes
from support.contract import Case, cases, content_of, framed_bytes, rows_of, signature_document

DECODING = cases("decoding.json")
FRAMING = cases("framing.json")


def _names(found: list[Case]) -> list[str]:
    return [case["case"] for case in found]


def _check_refusal(refused: InvalidRequest, case: Case) -> None:
    assert refused.detail == case["error"]
    missing = [words for words in case["says"] if words not in str(refused)]
    assert not missing, str(refused)


@pytest.mark.parametrize("case", DECODING, ids=_names(DECODING))
def test_a_tensor_becomes_rows_or_is_refused_with_the_reason(case: Case) -> None:
    signature = Signature.parse(signature_document(case["signature"]))
    tensor = RawTensor(signature.input.name, case["datatype"], tuple(case["shape"]), content_of(case))
    if "error" in case:
        with pytest.raises(InvalidRequest) as refusal:
            decode(tensor, signature)
        _check_refusal(refusal.value, case)
        return
    rows = decode(tensor, signature)
    expected = rows_of(case)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    assert rows.shape == (len(expected), *signature.input.example_shape)
    np.testing.assert_array_equal(rows.reshape(expected.shape), expected)


@pytest.mark.parametrize("case", FRAMING, ids=_names(FRAMING))
def test_framed_bytes_become_elements_or_are_refused_with_the_reason(case: Case) -> None:
    signature = Signature.parse(signature_document("tiny_image"))
    tensor = RawTensor("image", "BYTES", tuple(case["shape"]), framed_bytes(case["content"]))
    if "error" in case:
        with pytest.raises(InvalidRequest) as refusal:
            split_bytes(tensor, signature)
        _check_refusal(refusal.value, case)
        return
    assert split_bytes(tensor, signature) == [framed_bytes(words) for words in case["elements"]]


def test_every_reason_of_decoding_has_a_case() -> None:
    reasons = {case.get("error") for case in DECODING + FRAMING} - {None}
    assert reasons == {
        "DATATYPE_NOT_ACCEPTED", "RANK_NOT_ACCEPTED", "DIMENSION_NOT_POSITIVE", "SHAPE_OVERFLOW",
        "SHAPE_NOT_ACCEPTED", "TOO_MANY_EXAMPLES", "BYTE_LENGTH_MISMATCH", "NOT_FINITE", "OUT_OF_RANGE",
        "BYTES_LENGTH",
    }  # fmt: skip
