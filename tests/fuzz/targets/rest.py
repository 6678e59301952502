"""The body of a REST inference request, JSON with or without bytes behind it: to rows, or InvalidRequest."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from starlette.datastructures import Headers

from fuzz.json_mutator import mutated
from fuzz.replies import prediction
from fuzz.signatures import NAMES, SIGNATURES
from fuzz.target import Cursor, Target, check_words
from fuzz.targets.tensors import check_rows
from seqserve.errors import InvalidRequest
from seqserve.http_api.binary_extension import HEADER
from seqserve.http_api.infer_message import InferMessage, read_message
from seqserve.http_api.infer_reply import encode_reply
from seqserve.oip_rules import timeout_seconds
from seqserve.signature import Signature
from seqserve.tensors import RawTensor, decode, split_bytes
from support.contract import Case, cases, content_of

MAX_BODY_BYTES = 2**20
NO_HEADER, JSON_END, ANY_NUMBER, ANY_TEXT = range(4)
STORED = {"FP32": "<f4", "INT8": "<i1", "UINT8": "<u1", "INT16": "<i2", "UINT16": "<u2"}


def check(data: bytes) -> None:
    """Read a body under any header, and answer it."""
    cursor = Cursor(data)
    signature = SIGNATURES[cursor.choice(NAMES)]
    headers, body = _headers(cursor)
    try:
        message = read_message(bytearray(body), headers, MAX_BODY_BYTES)
        timeout_seconds(message.timeout, None)
        tensor = message.content(signature)
        rows = None if tensor.datatype == "BYTES" else decode(tensor, signature)
        if rows is None:
            split_bytes(tensor, signature)
    except InvalidRequest as refused:
        check_words(refused)
        return
    if rows is not None:
        check_rows(rows, signature)
        _check_plain_json(body, headers, tensor)
    _check_reply(message, signature)


def _headers(cursor: Cursor) -> tuple[Headers, bytes]:
    mode = cursor.choice((NO_HEADER, JSON_END, ANY_NUMBER, ANY_TEXT))
    if mode == NO_HEADER:
        return Headers({}), cursor.rest()
    if mode == ANY_TEXT:
        text = cursor.take(cursor.number() % 12).decode("latin-1")
        return Headers({HEADER: text}), cursor.rest()
    count = cursor.number(2)
    body = cursor.rest()
    return Headers({HEADER: str(_json_end(body) if mode == JSON_END else count)}), body


def _json_end(body: bytes) -> int:
    """Where the object ends with which the body begins."""
    try:
        return json.JSONDecoder().raw_decode(body.decode("latin-1"))[1]
    except (ValueError, RecursionError):
        return len(body)


def _check_plain_json(body: bytes, headers: Headers, tensor: RawTensor) -> None:
    """What Python's own parser and NumPy make of the data."""
    data = json.loads(body)["inputs"][0].get("data") if not headers else None
    if data is None:
        return
    with np.errstate(over="ignore"):
        numbers = np.array(data, np.float64).astype(STORED[tensor.datatype]).ravel()
    assert tensor.content == numbers.tobytes()


def _check_reply(message: InferMessage, signature: Signature) -> None:
    reply = encode_reply(message, prediction(signature))
    end = int(reply.headers.get(HEADER, len(reply.body)))
    document: dict[str, Any] = json.loads(bytes(reply.body)[:end])
    (output,) = document["outputs"]
    assert output["name"] == signature.output.name
    assert document.get("id", "") == message.id
    assert ("data" in output) != message.is_binary


def _body(case: Case, **changes: Any) -> dict[str, Any]:
    signature = SIGNATURES[case["signature"]]
    one = {"name": signature.input.name, "datatype": case["datatype"], "shape": case["shape"], **changes}
    return {"id": "a", "inputs": [one], "outputs": [{"name": signature.output.name}]}


def _seeds_of(case: Case) -> list[bytes]:
    content = content_of(case)
    behind = _body(case, parameters={"binary_data_size": len(content)})
    found = [bytes([NAMES.index(case["signature"]), JSON_END, 0, 0]) + json.dumps(behind).encode() + content]
    values = case["content"].get("values")
    if values is not None:
        plain = json.dumps(_body(case, data=values)).encode()
        found.append(bytes([NAMES.index(case["signature"]), NO_HEADER]) + plain)
    return found


def seeds() -> list[bytes]:
    """The contract's tensors in both forms, and what else a request may hold."""
    image = {"name": "image", "datatype": "BYTES", "shape": [1]}
    written = {"data": ["aGVsbG8="], "parameters": {"content_type": "base64"}}
    more: list[dict[str, Any]] = [
        {"inputs": [image | written]},
        {"inputs": [image | {"data": ["text"]}]},
        {"parameters": {"timeout": 1000, "binary_data_output": True},
         "inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 2, 3], "data": [[[0, 1, 0.5], [0, 0, 1]]]}],
         "outputs": [{"name": "probabilities", "parameters": {"classification": 1}}]},
    ]  # fmt: skip
    index = NAMES.index("tiny_image")
    found = [seed for case in cases("decoding.json") for seed in _seeds_of(case)]
    found += [bytes([index, NO_HEADER]) + json.dumps(document).encode() for document in more]
    return [seed for seed in found if len(seed) <= TARGET.max_bytes]


TARGET = Target(
    "rest",
    check,
    seeds,
    (
        b'"inputs"', b'"outputs"', b'"name"', b'"datatype"', b'"shape"', b'"data"', b'"parameters"', b'"id"',
        b'"binary_data_size"', b'"binary_data"', b'"binary_data_output"', b'"classification"', b'"timeout"',
        b'"content_type"', b'"base64"', b'"FP32"', b'"UINT8"', b'"BYTES"', b'"BF16"', b"null", b"true", b"NaN",
        b"1e999", b"-0.0", b"\\ud800", b"[[[[", b'{"":', b"1" * 400, b"9223372036854775808",
    ),
    mutate=mutated,
)  # fmt: skip
