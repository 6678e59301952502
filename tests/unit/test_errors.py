"""Errors: their words, what they quote from callers, and that every reason is its own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqserve import errors
from seqserve.errors import (
    InvalidRequest,
    ModelNotFound,
    ModelNotReady,
    NotFound,
    Overloaded,
    SeqserveError,
    StartFault,
    StoreMissing,
    Unavailable,
    VersionNotFound,
    quote_came,
)


def _tree(root: type[SeqserveError]) -> list[type[SeqserveError]]:
    return [root, *(kind for below in root.__subclasses__() for kind in _tree(below))]


def test_short_text_is_quoted_as_it_is() -> None:
    assert quote_came("[2,14,56]") == "[2,14,56]"
    assert quote_came("x" * 64) == "x" * 64


def test_long_text_ends_in_dots_at_64_characters() -> None:
    assert quote_came("x" * 65) == "x" * 61 + "..."


def test_line_ends_and_other_scripts_are_escaped() -> None:
    assert quote_came("a\nb\x1b[31mé") == "a\\nb\\x1b[31m\\xe9"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_whatever_came_is_quoted_in_64_printable_characters(came: str) -> None:
    quoted = quote_came(came)
    assert len(quoted) <= 64
    assert all(" " <= character <= "~" for character in quoted)


def test_an_invalid_request_names_the_field_what_came_and_what_is_accepted() -> None:
    error = InvalidRequest("SHAPE_NOT_ACCEPTED", field="image", came=[2, 14, 56], accepted="[784]")
    assert str(error) == "image: [2, 14, 56]; accepted: [784]"
    assert (error.reason, error.detail, error.field) == ("INVALID_REQUEST", "SHAPE_NOT_ACCEPTED", "image")


def test_an_invalid_request_escapes_the_callers_field_name() -> None:
    error = InvalidRequest("UNKNOWN", field="evil\r\nname", came="x", accepted="image")
    assert "\n" not in str(error)
    assert len(InvalidRequest("UNKNOWN", field="f" * 500, came="x", accepted="image").field) == 64


def test_a_missing_model_and_version_are_quoted() -> None:
    assert "'digits'" in str(ModelNotFound("digits"))
    assert "\n" not in str(ModelNotFound("a\nb"))
    assert str(VersionNotFound("digits", "9", available="1, 2")).endswith("'9'; available: 1, 2")
    assert issubclass(VersionNotFound, NotFound)


@pytest.mark.parametrize("kind", [Overloaded, ModelNotReady, Unavailable])
def test_errors_worth_a_retry_say_when(kind: type[Overloaded | Unavailable]) -> None:
    assert kind("busy").retry_after_seconds == 1.0
    assert kind("busy", retry_after_seconds=0.25).retry_after_seconds == 0.25


def test_a_start_fault_carries_a_hint() -> None:
    assert StoreMissing("no store", hint="build one").hint == "build one"
    assert StartFault("no").hint == ""


def test_every_error_has_a_reason_of_its_own() -> None:
    reasons = [kind.reason for kind in _tree(SeqserveError)]
    assert len(set(reasons)) == len(reasons)


def test_the_modules_picture_shows_the_whole_tree() -> None:
    assert errors.__doc__ is not None
    drawn = errors.__doc__.split()
    assert {kind.__name__ for kind in _tree(SeqserveError)} <= set(drawn)
