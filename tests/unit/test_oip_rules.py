"""What the Open Inference Protocol asks of names and numbers, and the model configuration."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.errors import InvalidRequest
from seqserve.oip_rules import (
    check_input_names,
    check_load_parameters,
    check_output_names,
    check_parameter_names,
    check_timeout,
    timeout_seconds,
)
from seqserve.signature import Signature
from support.contract import signature_document

DIGIT = Signature.parse(signature_document("digit"))
NO_MICROSECONDS = st.one_of(
    st.integers(max_value=0),
    st.integers(min_value=2**63),
    st.just(10**400),
    st.booleans(),
    st.text(),
    st.floats(),
    st.just([1]),
    st.just({}),
)


def refusal(check: Callable[[], object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        check()
    return refused.value


@pytest.mark.parametrize("name", ["sequence_id", "sequence_start", "shared_memory_region", "shared_memory_"])
def test_parameters_that_change_the_meaning_are_refused_by_name(name: str) -> None:
    refused = refusal(lambda: check_parameter_names(["priority", name]))

    assert (refused.detail, refused.field) == ("PARAMETER_NOT_ACCEPTED", f"parameters.{name}")


@given(st.lists(st.text().filter(lambda name: not name.startswith(("sequence_", "shared_memory_")))))
def test_unknown_parameters_are_ignored(names: list[str]) -> None:
    check_parameter_names(names)


@given(st.integers(1, 2**63 - 1), st.none() | st.floats(min_value=0, max_value=1e6))
def test_the_tighter_of_timeout_and_deadline_counts(microseconds: int, remaining: float | None) -> None:
    check_timeout(microseconds)
    seconds = timeout_seconds(microseconds, remaining)

    assert seconds is not None
    assert seconds == min(microseconds / 1e6, seconds if remaining is None else remaining)


@given(NO_MICROSECONDS, st.none() | st.floats(min_value=0, max_value=1e6))
def test_a_timeout_that_is_no_positive_integer_is_refused_and_sets_no_deadline(
    value: object, remaining: float | None
) -> None:
    assert refusal(lambda: check_timeout(value)).field == "parameters.timeout"
    assert timeout_seconds(value, remaining) == remaining


def test_no_timeout_leaves_the_deadline() -> None:
    check_timeout(None)

    assert timeout_seconds(None, 2.5) == 2.5
    assert timeout_seconds(None, None) is None


@pytest.mark.parametrize("names", [[], ["pixels"], ["image", "image"], ["image", "mask"], ["Image"]])
def test_one_input_of_the_right_name_is_taken_and_nothing_else(names: list[str]) -> None:
    check_input_names(["image"], DIGIT)

    refused = refusal(lambda: check_input_names(names, DIGIT))
    assert refused.detail == "INPUT_NAME"
    assert "'image'" in str(refused)


@pytest.mark.parametrize("names", [["logits"], ["probabilities", "probabilities"], ["probabilities", "x"]])
def test_outputs_are_all_or_the_one_there_is(names: list[str]) -> None:
    check_output_names([], DIGIT)
    check_output_names(["probabilities"], DIGIT)

    refused = refusal(lambda: check_output_names(names, DIGIT))
    assert refused.detail == "OUTPUT_NAME"
    assert "'probabilities'" in str(refused)


def test_a_load_takes_no_parameters() -> None:
    check_load_parameters([])

    refused = refusal(lambda: check_load_parameters(["file:1/model.pt", "config"]))
    assert (refused.detail, refused.field) == ("PARAMETER_NOT_ACCEPTED", "parameters")
    assert "config, file:1/model.pt" in str(refused)
