"""The best classes: their order, their number, and the text of the classification extension."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seqserve.classification import best_indices, check_count, ranked
from seqserve.errors import InvalidRequest
from seqserve.signature import Signature
from support.contract import signature_document

DIGIT = Signature.parse(signature_document("digit"))
LINE = Signature.parse(signature_document("line"))
# Few values, so that ties are common.
ROWS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.sampled_from([0.0, 0.125, 0.25, 0.5]),
)


def test_elements_are_value_index_and_label() -> None:
    rows = np.array([[0.25, 0.5, 0.25]], np.float32)

    assert ranked(rows, 2, ["cat", "dog", "owl"]) == [[b"0.500000:1:dog", b"0.250000:0:cat"]]


def test_without_labels_there_is_none_in_the_text() -> None:
    assert ranked(np.array([[0.0, 1.0]], np.float32), 1, []) == [[b"1.000000:1"]]


@given(ROWS, st.integers(min_value=1, max_value=20))
def test_the_best_are_the_largest_in_order_and_ties_go_to_the_lower_index(
    rows: npt.NDArray[np.float32], count: int
) -> None:
    for row in rows:
        best = best_indices(row, count)

        order = sorted(range(len(row)), key=lambda index: (-row[index], index))
        assert best == order[: min(count, len(row))]


@given(ROWS, st.integers(min_value=1, max_value=20))
def test_every_row_gets_as_many_as_asked_for_and_there_are(rows: npt.NDArray[np.float32], count: int) -> None:
    elements = ranked(rows, count, [])

    assert [len(row) for row in elements] == [min(count, rows.shape[1])] * len(rows)
    for row, named in zip(rows, elements, strict=True):
        for element in named:
            value, index = element.split(b":")
            assert float(value) == row[int(index)]


@given(st.integers(min_value=1))
def test_a_count_of_at_least_one_passes(count: int) -> None:
    assert check_count(count, DIGIT) == count


@pytest.mark.parametrize("count", [0, -1, 2.0, "3", True, None, [1]])
def test_other_counts_are_refused(count: object) -> None:
    with pytest.raises(InvalidRequest, match="at least 1") as refused:
        check_count(count, DIGIT)

    assert refused.value.field == "outputs.parameters.classification"


def test_a_regression_has_no_classes() -> None:
    with pytest.raises(InvalidRequest, match="line gives values, not classes"):
        check_count(1, LINE)
