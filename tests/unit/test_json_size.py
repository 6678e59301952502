"""How much a JSON text may hold: counted before it is parsed, and never against what a model may be asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seqserve.errors import InvalidRequest
from seqserve.http_api.json_size import MAX_PARTS, MIN_PARTS, MIN_VALUES, check_json_size
from seqserve.http_api.limits import HttpLimits
from seqserve.message_size import FLOOR_BYTES
from support.memory import MIB, python_peak
from support.rest import INFER, Port, infer_document

LENGTH = 14 * MIB


def filled(piece: str) -> bytes:
    """A request whose parameters hold as many of a piece as 14 MiB do."""
    text = json.dumps(infer_document(parameters={"a": []}))
    count = LENGTH // len(piece)
    return text.replace('"a": []', f'"a": [{(piece * count)[:-1]}]').encode()


@pytest.mark.parametrize(
    ("piece", "reason", "came"),
    [
        ("[],", "JSON_PARTS", "arrays, objects, strings and words"),
        ("{},", "JSON_PARTS", "arrays, objects, strings and words"),
        ('"",', "JSON_PARTS", "arrays, objects, strings and words"),
        ('{"a":[]},', "JSON_PARTS", "arrays, objects, strings and words"),
        ("null,", "JSON_PARTS", "arrays, objects, strings and words"),
        ("true,", "JSON_PARTS", "arrays, objects, strings and words"),
        ("false,", "JSON_PARTS", "arrays, objects, strings and words"),
        ("0,", "JSON_VALUES", "values"),
    ],
)
async def test_what_would_be_large_once_parsed_is_refused_before(
    tmp_path: Path, piece: str, reason: str, came: str
) -> None:
    body = filled(piece)
    port = Port(limits=HttpLimits(FLOOR_BYTES, 30.0))
    async with await port.client(tmp_path) as http:
        with python_peak() as peak:
            refused = await http.post(INFER, content=body)
        answered = await http.post(INFER, json=infer_document())

    document = refused.json()
    assert (refused.status_code, document["reason"], document["field"]) == (400, reason, "body")
    assert came in document["error"]
    assert peak.bytes < 2.5 * len(body)  # as it came, and its text
    assert answered.status_code == 200


def nested(*shape: int) -> bytes:
    """A request whose data is nested as its shape, in as few characters as can be."""
    data = "0"
    for size in reversed(shape):
        data = f"[{','.join([data] * size)}]"
    document = {"name": "image", "datatype": "UINT8", "shape": shape, "data": []}
    return json.dumps({"inputs": [document]}).replace('"data": []', f'"data":{data}').encode()


@pytest.mark.parametrize("shape", [(1024, 784), (1024, 28, 28), (1024, 3, 32, 32), (64, 3, 128, 128)])
def test_the_largest_requests_pass_however_they_are_nested(shape: tuple[int, ...]) -> None:
    check_json_size(nested(*shape), FLOOR_BYTES)


def test_pictures_pass() -> None:
    data = ["A" * 8_000] * 1024
    check_json_size(json.dumps({"inputs": [{"name": "image", "data": data}]}).encode(), FLOOR_BYTES)


def test_what_is_accepted_grows_with_the_largest_body() -> None:
    many, more = b"[]," * (MIN_PARTS + 1), b"[]," * (MAX_PARTS + 1)
    with pytest.raises(InvalidRequest, match=f"body: {MIN_PARTS + 1} arrays"):
        check_json_size(many, FLOOR_BYTES)
    check_json_size(many, 2 * FLOOR_BYTES)
    with pytest.raises(InvalidRequest, match=f"at most {MAX_PARTS}"):
        check_json_size(more, 2**31)
    numbers = b"0," * (FLOOR_BYTES // 4 + 1)
    with pytest.raises(InvalidRequest):
        check_json_size(numbers, FLOOR_BYTES)
    check_json_size(numbers, 2 * FLOOR_BYTES)


def test_small_limits_of_a_body_do_not_make_it_smaller() -> None:
    check_json_size(b"0," * MIN_VALUES, 1000)
    check_json_size(b"[]" * MIN_PARTS, 1000)
