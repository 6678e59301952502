"""What TorchServe hands the archive's handler of an HTTP caller: to rows, or refused with a 4xx."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from fuzz.json_mutator import mutated
from fuzz.signatures import DOCUMENTS, NAMES, SIGNATURES
from fuzz.target import Cursor, Target
from fuzz.targets.tensors import check_rows
from seqserve_models import handler
from support.contract import Case, cases, content_of
from support.pictures import picture

KINDS = (*handler.CONTENT_TYPES, "", "application/JSON; charset=utf-8")
JSON, PNG, RAW = 0, 1, 3
Outcome = handler.Values | str


def check(data: bytes) -> None:
    """Read a row under any headers."""
    cursor = Cursor(data)
    name, kind = cursor.choice(NAMES), cursor.choice(KINDS)
    headers = {"content-type": kind}
    if kind == KINDS[RAW]:
        headers["x-tensor-datatype"] = cursor.take(cursor.number() % 8).decode("latin-1")
        headers["x-tensor-shape"] = cursor.take(cursor.number() % 32).decode("latin-1")
    if cursor.number() % 4 == 3:
        headers["x-top-k"] = cursor.take(cursor.number() % 12).decode("latin-1")
    content = cursor.rest()
    rows = _read({"body": bytearray(content)}, headers, name)
    if kind == KINDS[JSON]:
        _check_parsed(content, rows, headers, name)
    if not isinstance(rows, str):
        check_rows(rows, SIGNATURES[name])


def _read(row: dict[str, Any], headers: dict[str, str], name: str) -> Outcome:
    try:
        handler.listed_classes(headers, DOCUMENTS[name])
        return handler.decode_http(row, headers, DOCUMENTS[name])
    except handler.Refused as refused:
        assert 400 <= refused.status < 500, refused
        assert refused.text
        refused.text.encode()
        return refused.reason


def _check_parsed(content: bytes, rows: Outcome, headers: dict[str, str], name: str) -> None:
    """TorchServe parses some bodies itself: the answer is the same."""
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        return
    if not isinstance(parsed, bytes):
        np.testing.assert_array_equal(_read({"body": parsed}, headers, name), rows)


def _seeds_of(case: Case) -> list[bytes]:
    index, shape = NAMES.index(case["signature"]), ",".join(map(str, case["shape"])).encode()
    datatype = case["datatype"].encode()
    found = []
    if len(datatype) < 8 and len(shape) < 32:
        sizes = bytes([len(datatype)]) + datatype + bytes([len(shape)]) + shape
        found.append(bytes([index, RAW]) + sizes + b"\0" + content_of(case))
    if "rows" in case and isinstance(case["rows"], list):
        found.append(bytes([index, JSON, 0]) + json.dumps({"instances": case["rows"]}).encode())
        found.append(bytes([index, JSON, 3, 1]) + b"2" + json.dumps(case["rows"]).encode())
    return found


def seeds() -> list[bytes]:
    """The contract's tensors as JSON and as bytes, and its pictures."""
    found = [seed for case in cases("decoding.json") for seed in _seeds_of(case)]
    pictures = cases("images.json")[:12]
    found += [bytes([NAMES.index(case["signature"]), PNG, 0]) + picture(case) for case in pictures]
    return [seed for seed in found if len(seed) <= TARGET.max_bytes]


TARGET = Target(
    "handler_http",
    check,
    seeds,
    (
        b'{"instances":', b"[[", b"]]", b"null", b"NaN", b"Infinity", b"1e999", b"true", b"1" * 400, b"\\ud800",
        b"-0.0", b"FP32", b"UINT8", b"28,28", b"[" * 50,
    ),
    mutate=mutated,
)  # fmt: skip
