"""Pictures to rows, by the gateway and by the archive's handler: the same rows, the same refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from support.contract import Case, cases, signature_document
from support.picture_decoders import Decode, by_gateway, by_handler, each_decoder
from support.pictures import flipped, picture

IMAGES = cases("images.json")
GOOD = [case for case in IMAGES if "row" in case]
BAD = [case for case in IMAGES if "error" in case]


def _names(found: list[Case]) -> list[str]:
    return [case["case"] for case in found]


@each_decoder
@pytest.mark.parametrize("case", GOOD, ids=_names(GOOD))
def test_a_picture_becomes_a_row_in_the_models_own_shape(decode: Decode, case: Case) -> None:
    row = decode(picture(case), case["signature"])
    assert not isinstance(row, str), row
    assert row.dtype == np.float32
    assert row.shape == (1, *json.loads(signature_document(case["signature"]))["input"]["shape"][1:])
    expected = np.array(case["row"], np.float32)
    if "within" in case:
        np.testing.assert_allclose(row.ravel() * 255, expected, atol=case["within"] + 0.01)
    else:
        np.testing.assert_array_equal(row.ravel(), expected / np.float32(255))


@each_decoder
@pytest.mark.parametrize("case", BAD, ids=_names(BAD))
def test_a_picture_is_refused_with_the_reason(decode: Decode, case: Case) -> None:
    assert decode(picture(case), case["signature"]) == case["error"]


def test_every_reason_about_pictures_has_a_case() -> None:
    assert {case["error"] for case in BAD} == {"IMAGE_FORMAT", "IMAGE_SIZE", "IMAGE_BROKEN"}


@pytest.mark.parametrize("case", GOOD, ids=_names(GOOD))
def test_both_answer_alike_wherever_a_picture_is_cut_or_changed(case: Case) -> None:
    whole, signature = picture(case), case["signature"]
    damaged = [whole[:length] for length in range(len(whole) + 1)]
    damaged += [flipped(whole, position) for position in range(len(whole))]
    for content in damaged:
        np.testing.assert_array_equal(by_handler(content, signature), by_gateway(content, signature))
