"""The ids of calls: the caller's own where it is fit for logs, else a new one."""

from __future__ import annotations

import re

import pytest

from seqserve.request_ids import REQUEST_ID_PATTERN, request_id


@pytest.mark.parametrize("given", ["a", "order-7", "A.b_c-9", "x" * 64])
def test_a_callers_own_id_stays(given: str) -> None:
    assert request_id(given) == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\n", "ü", "{}"])
def test_what_is_not_fit_for_logs_is_replaced(given: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", request_id(given))


def test_new_ids_differ_and_are_fit_to_be_given() -> None:
    made = {request_id("") for _ in range(10_000)}

    assert len(made) == 10_000
    assert all(REQUEST_ID_PATTERN.fullmatch(each) for each in made)
