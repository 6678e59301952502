"""JSON of the HTTP port: what is taken, and that nothing else gets through, short or long."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.errors import InvalidRequest
from seqserve.http_api.strict_json import LONG_BYTES, MAX_DEPTH, parse_object

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
PADDING = " " * (LONG_BYTES + 1)


def reason(text: bytes) -> str:
    with pytest.raises(InvalidRequest) as refusal:
        parse_object(text)
    return refusal.value.detail


def depth(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if children is None else 1 + max(map(depth, children), default=0)


@pytest.mark.parametrize("padding", ["", PADDING], ids=["short", "long"])
@given(members=st.dictionaries(st.text(), VALUES, max_size=4))
def test_what_json_can_say_is_read_as_it_was_written(padding: str, members: dict[str, Any]) -> None:
    text = (json.dumps(members) + padding).encode()
    if depth(members) > MAX_DEPTH:
        assert reason(text) == "JSON_TOO_DEEP"
    else:
        assert parse_object(text) == members


@pytest.mark.parametrize("padding", ["", PADDING], ids=["short", "long"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "MALFORMED_JSON"),
        ("{", "MALFORMED_JSON"),
        ('{"a":1} {}', "MALFORMED_JSON"),
        ("[1]", "MALFORMED_JSON"),
        ("7", "MALFORMED_JSON"),
        ("null", "MALFORMED_JSON"),
        ('{"a":01}', "MALFORMED_JSON"),
        ("{'a':1}", "MALFORMED_JSON"),
        ('{"a":' + "9" * 5000 + "}", "MALFORMED_JSON"),
        ('{"a":NaN}', "JSON_NOT_FINITE"),
        ('{"a":[Infinity]}', "JSON_NOT_FINITE"),
        ('{"a":-Infinity}', "JSON_NOT_FINITE"),
        ('{"a":1,"a":1}', "JSON_DUPLICATE_KEY"),
        ('{"b":{"a":1,"\\u0061":2}}', "JSON_DUPLICATE_KEY"),
        ('{"a":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}", "JSON_TOO_DEEP"),
        ('{"a":' * 20 + "1" + "}" * 20, "JSON_TOO_DEEP"),
        ('{"a":' + "[" * 100_000, "JSON_TOO_DEEP"),
        ('{"a":"\\ud800"}', "JSON_SURROGATE"),
        ('{"a":[{"b":["\\uDFFF\\uD800"]}]}', "JSON_SURROGATE"),
        ('{"a":{"\\udc00":1}}', "JSON_SURROGATE"),
    ],
)
def test_anything_else_is_refused_with_its_reason(text: str, expected: str, padding: str) -> None:
    assert reason((text + padding).encode()) == expected


@pytest.mark.parametrize("text", ['{"\\uD83D\\ude00":["\\ud83d\\uDE00"]}', '{"a":"\\\\ud800"}'])
def test_whole_surrogate_pairs_and_what_only_looks_like_half_of_one_are_taken(text: str) -> None:
    assert parse_object(text.encode()) == json.loads(text)


def test_sixteen_levels_are_taken() -> None:
    parse_object(('{"a":' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}").encode())


@pytest.mark.parametrize("text", [b'{"a":"\xff"}', b'\xef\xbb\xbf{"a":1}', '{"a":1}'.encode("utf-16")])
def test_only_utf8_is_taken(text: bytes) -> None:
    assert reason(text) == "MALFORMED_JSON"


@given(st.binary(max_size=200))
def test_no_bytes_break_it(text: bytes) -> None:
    with contextlib.suppress(InvalidRequest):  # and nothing but it
        parse_object(text)


def test_numbers_of_a_long_text_are_those_of_a_short_one() -> None:
    text = '{"a":[1,-0.0,1e3,0.1,123456789012345678901234567890]}'
    short, long = (parse_object((text + padding).encode())["a"] for padding in ("", PADDING))
    assert [(type(number), number) for number in short] == [(type(number), number) for number in long]
    assert math.copysign(1, long[1]) == -1
