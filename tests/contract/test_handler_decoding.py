"""The archive handler's decoding against the contract cases that every implementation obeys."""

from __future__ import annotations

import json

import numpy as np
import pytest

from seqserve_models.handler import MAX_HTTP_EXAMPLES, Refused, decode
from support.contract import Case, cases, content_of, rows_of, signature_document

DECODING = cases("decoding.json")


@pytest.mark.parametrize("case", DECODING, ids=[case["case"] for case in DECODING])
def test_a_tensor_becomes_rows_or_is_refused_with_the_reason(case: Case) -> None:
    signature = json.loads(signature_document(case["signature"]))
    if "error" in case:
        with pytest.raises(Refused) as refusal:
            decode(content_of(case), case["datatype"], tuple(case["shape"]), signature, MAX_HTTP_EXAMPLES)
        assert refusal.value.reason == case["error"]
        missing = [words for words in case["says"] if words not in refusal.value.text]
        assert not missing, refusal.value.text
        return
    rows = decode(content_of(case), case["datatype"], tuple(case["shape"]), signature, MAX_HTTP_EXAMPLES)
    expected = rows_of(case)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    assert rows.shape == (len(expected), *signature["input"]["shape"][1:])
    np.testing.assert_array_equal(rows.reshape(expected.shape), expected)
