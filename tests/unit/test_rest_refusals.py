"""Refusals over HTTP: each error's code, words and facts, and that each is counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from structlog.testing import capture_logs

from seqserve.errors import EngineUnavailable, Overloaded, ShuttingDown
from seqserve.http_api.limits import HttpLimits
from support.rest import HEADER, IMAGE, INFER, Port, binary, infer_document

PICTURE = {"name": "image", "datatype": "BYTES", "shape": [1]}
NUMBERS = {"name": "image", "datatype": "FP32", "shape": [1, 6]}


@pytest.fixture
def port() -> Port:
    return Port()


@pytest.fixture
async def http(tmp_path: Path, port: Port) -> AsyncIterator[httpx.AsyncClient]:
    async with await port.client(tmp_path) as client:
        yield client


def with_input(**members: Any) -> dict[str, Any]:
    return {"inputs": [infer_document()["inputs"][0] | members]}


def refused(reply: httpx.Response, code: int, reason: str) -> dict[str, Any]:
    """The body of a refusal."""
    assert reply.headers["content-type"] == "application/json"
    body: dict[str, Any] = reply.json()
    assert (reply.status_code, body["reason"]) == (code, reason), body
    assert body["request_id"] == reply.headers["x-request-id"]
    assert isinstance(body["error"], str)
    return body


@pytest.mark.parametrize(
    ("document", "reason", "field"),
    [
        (with_input(shape=[3, 3]), "SHAPE_NOT_ACCEPTED", "image"),
        (with_input(data=[0.5] * 5), "BYTE_LENGTH_MISMATCH", "image"),
        (with_input(data=[[0.5] * 3] * 2), "DATA_NESTING", "image"),
        (with_input(data=[2] * 6), "OUT_OF_RANGE", "image"),
        (with_input(datatype="FP64"), "DATATYPE_NOT_ACCEPTED", "image"),
        (with_input(datatype="FP16"), "CONTENTS_FIELD", "image"),
        (with_input(name="pixels"), "INPUT_NAME", "inputs"),
        (with_input(data=None), "CONTENTS_FIELD", "image"),
        (with_input(parameters={"binary_data_size": 24}), "CONTENTS_FIELD", "image"),
        (with_input(shape="6"), "MALFORMED_REQUEST", "inputs[0].shape"),
        (with_input(shape=[2**63]), "MALFORMED_REQUEST", "inputs[0].shape[0]"),
        (with_input(shape=[True, 6]), "MALFORMED_REQUEST", "inputs[0].shape[0]"),
        (with_input(parameters={"shared_memory_region": "r"}), "PARAMETER_NOT_ACCEPTED", "parameters.shared_memory_region"),
        ({"inputs": []}, "INPUT_NAME", "inputs"),
        ({}, "MALFORMED_REQUEST", "inputs"),
        (infer_document(id=7), "MALFORMED_REQUEST", "id"),
        (infer_document(outputs=[{"name": "logits"}]), "OUTPUT_NAME", "outputs"),
        (infer_document(outputs=[{}]), "MALFORMED_REQUEST", "outputs[0].name"),
        (infer_document(np.full((9, 6), 0.5)), "TOO_MANY_EXAMPLES", "image"),
        (infer_document(parameters={"timeout": 0}), "PARAMETER_NOT_ACCEPTED", "parameters.timeout"),
        (infer_document(parameters={"timeout": "5"}), "PARAMETER_NOT_ACCEPTED", "parameters.timeout"),
        (infer_document(parameters={"sequence_id": 1}), "PARAMETER_NOT_ACCEPTED", "parameters.sequence_id"),
        (infer_document(parameters={"binary_data_output": 1}), "PARAMETER_NOT_ACCEPTED", "parameters.binary_data_output"),
        (
            infer_document(outputs=[{"name": "probabilities", "parameters": {"classification": 0}}]),
            "PARAMETER_NOT_ACCEPTED", "outputs.parameters.classification",
        ),
        ({"inputs": [PICTURE | {"data": ["\x89PNG"]}]}, "BYTES_IN_JSON", "image"),
        ({"inputs": [PICTURE | {"data": ["#"], "parameters": {"content_type": "base64"}}]}, "BASE64", "image"),
        ({"inputs": [PICTURE | {"data": ["aGk="], "parameters": {"content_type": "base64"}}]}, "IMAGE_FORMAT", "image[0]"),
    ],
)  # fmt: skip
async def test_a_wrong_request_is_refused_with_what_is_accepted(
    http: httpx.AsyncClient, port: Port, document: dict[str, Any], reason: str, field: str
) -> None:
    body = refused(await http.post(INFER, json=document), 400, reason)

    assert body["field"] == field
    assert body["accepted"] in body["error"]
    assert "retry_after_seconds" not in body
    assert port.counted("INVALID_ARGUMENT") == 1
    assert port.engine.batches == []


async def test_plain_strings_on_a_model_of_numbers_are_a_wrong_datatype(http: httpx.AsyncClient) -> None:
    document = {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": ["1"]}]}
    refused(await http.post("/v2/models/line/infer", json=document), 400, "DATATYPE_NOT_ACCEPTED")


async def test_no_classes_of_a_regression(http: httpx.AsyncClient) -> None:
    outputs = [{"name": "y", "parameters": {"classification": 1}}]
    document = infer_document([0.5], name="x", outputs=outputs)
    refused(await http.post("/v2/models/line/infer", json=document), 400, "PARAMETER_NOT_ACCEPTED")


@pytest.mark.parametrize(
    ("length", "reason"),
    [
        ("-1", "HEADER_LENGTH"),
        ("0x10", "HEADER_LENGTH"),
        ("٣", "HEADER_LENGTH"),
        ("", "HEADER_LENGTH"),
        ("65537", "HEADER_LENGTH"),
        ("99999999999999999999", "HEADER_LENGTH"),
        ("100000", "HEADER_LENGTH"),
        ("0", "MALFORMED_JSON"),
        ("3", "MALFORMED_JSON"),
    ],
)
async def test_a_length_of_the_json_that_cannot_be(
    http: httpx.AsyncClient, port: Port, length: str, reason: str
) -> None:
    body, _ = binary(with_input(), IMAGE.tobytes())
    headers = [(HEADER.encode(), length.encode())]
    refused(await http.post(INFER, content=body, headers=headers), 400, reason)
    assert port.counted("INVALID_ARGUMENT") == 1


async def test_two_lengths_of_the_json_are_refused(http: httpx.AsyncClient) -> None:
    body, headers = binary(with_input(), IMAGE.tobytes())
    twice = [*headers.items(), *headers.items()]
    refused(await http.post(INFER, content=body, headers=twice), 400, "HEADER_LENGTH")


@pytest.mark.parametrize("size", [23, 25, -1, 2**70, True, "24", None, 24.0])
async def test_sizes_that_are_not_exactly_the_rest_are_refused(http: httpx.AsyncClient, size: Any) -> None:
    document = with_input()
    binary(document, IMAGE.tobytes())
    document["inputs"][0]["parameters"]["binary_data_size"] = size
    head = json.dumps(document).encode()
    content = head + IMAGE.tobytes()
    reply = await http.post(INFER, content=content, headers={HEADER: str(len(head))})
    refused(reply, 400, "BINARY_SIZE")


async def test_sizes_of_several_inputs_are_added(http: httpx.AsyncClient) -> None:
    document = {"inputs": [dict(NUMBERS), dict(NUMBERS)]}
    body, headers = binary(document, IMAGE.tobytes(), IMAGE.tobytes())
    refused(await http.post(INFER, content=body, headers=headers), 400, "INPUT_NAME")
    refused(await http.post(INFER, content=body[:-1], headers=headers), 400, "BINARY_SIZE")


async def test_bytes_behind_the_json_that_no_input_claims_are_refused(http: httpx.AsyncClient) -> None:
    head = json.dumps(with_input()).encode()
    reply = await http.post(INFER, content=head + b"more", headers={HEADER: str(len(head))})
    refused(reply, 400, "BINARY_SIZE")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
async def test_a_compressed_body_is_no_media_of_ours(
    http: httpx.AsyncClient, port: Port, encoding: str
) -> None:
    reply = await http.post(INFER, content=b"x", headers={"content-encoding": encoding})
    assert refused(reply, 415, "CONTENT_ENCODING")["field"] == "Content-Encoding"
    assert port.counted("INVALID_ARGUMENT") == 1


async def test_encodings_in_two_headers_count_both(http: httpx.AsyncClient) -> None:
    body = json.dumps(infer_document())
    given = [("content-encoding", "identity"), ("content-encoding", "gzip")]
    refused(await http.post(INFER, content=body, headers=given), 415, "CONTENT_ENCODING")
    given[1] = ("content-encoding", "identity")
    assert (await http.post(INFER, content=body, headers=given)).status_code == 200


async def test_a_timeout_of_hundreds_of_digits_is_refused_and_counted(
    http: httpx.AsyncClient, port: Port
) -> None:
    reply = await http.post(INFER, json=infer_document(parameters={"timeout": 10**400}))
    refused(reply, 400, "PARAMETER_NOT_ACCEPTED")
    assert port.counted("INVALID_ARGUMENT") == 1


async def test_unknown_models_and_versions(http: httpx.AsyncClient, port: Port) -> None:
    reply = await http.post("/v2/models/nobody/infer", json=infer_document())
    assert "nobody" in refused(reply, 404, "MODEL_NOT_FOUND")["error"]
    reply = await http.post("/v2/models/tiny/versions/9/infer", json=infer_document())
    assert "available: 1, 2" in refused(reply, 404, "VERSION_NOT_FOUND")["error"]
    assert port.counted("NOT_FOUND", "unknown", "unknown") == 1
    assert port.counted("NOT_FOUND", "tiny", "unknown") == 1


@pytest.mark.parametrize(
    ("fault", "code", "wait"),
    [
        (Overloaded("the queue is full", retry_after_seconds=0.2), 429, "1"),
        (EngineUnavailable("gone", retry_after_seconds=2.5), 503, "3"),
        (ShuttingDown("draining"), 503, "1"),
    ],
)
async def test_what_is_worth_a_retry_says_when(
    http: httpx.AsyncClient, port: Port, fault: Any, code: int, wait: str
) -> None:
    port.engine.fault = fault

    reply = await http.post(INFER, json=infer_document())

    assert refused(reply, code, fault.reason)["retry_after_seconds"] == fault.retry_after_seconds
    assert reply.headers["retry-after"] == wait


async def test_a_fault_of_ours_is_told_by_its_id_alone(http: httpx.AsyncClient, port: Port) -> None:
    port.engine.fault = RuntimeError("a secret of the engine")

    with capture_logs() as logs:
        reply = await http.post(INFER, json=infer_document(), headers={"x-request-id": "find-me"})

    body = refused(reply, 500, "INTERNAL")
    assert body == {
        "error": "internal error; request id find-me",
        "reason": "INTERNAL",
        "request_id": "find-me",
    }
    assert port.counted("INTERNAL") == 1
    (failed,) = [entry for entry in logs if entry["event"] == "call failed"]
    assert (failed["request_id"], failed["exc_info"]) == ("find-me", port.engine.fault)


async def test_a_deadline_that_passes_while_it_waits(http: httpx.AsyncClient, port: Port) -> None:
    port.engine.hold()
    reply = await http.post(INFER, json=infer_document(parameters={"timeout": 1}))
    refused(reply, 504, "DEADLINE_EXCEEDED")
    port.engine.gate.set()


async def test_a_body_beyond_the_limit_is_cut_whether_announced_or_not(tmp_path: Path) -> None:
    port = Port(limits=HttpLimits(1000, 30.0))
    sent = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 50_000:
            sent += 100
            yield b"x" * 100

    async with await port.client(tmp_path) as http:
        announced = await http.post(INFER, content=b"x" * 1001)
        chunked = await http.post(INFER, content=stream())

    for reply in (announced, chunked):
        assert "1000 bytes" in refused(reply, 413, "MESSAGE_TOO_LARGE")["error"]
    assert port.counted("RESOURCE_EXHAUSTED") == 2


async def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    port = Port(limits=HttpLimits(1000, 0.0))
    async with await port.client(tmp_path) as http:
        reply = await http.post(INFER, content=_never())
    refused(reply, 504, "DEADLINE_EXCEEDED")


async def _never() -> AsyncIterator[bytes]:
    yield b"{"
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("method", "path", "code", "reason"),
    [
        ("GET", "/", 404, "UNKNOWN_PATH"),
        ("GET", "/v2/", 404, "UNKNOWN_PATH"),
        ("GET", "/v2/trace/setting", 404, "UNKNOWN_PATH"),
        ("POST", "/v2/repository/index", 404, "UNKNOWN_PATH"),
        ("POST", "/v2/repository/models/tiny/load", 404, "UNKNOWN_PATH"),
        ("GET", INFER, 405, "WRONG_METHOD"),
        ("POST", "/v2", 405, "WRONG_METHOD"),
        ("DELETE", "/v2/models/tiny", 405, "WRONG_METHOD"),
    ],
)
async def test_paths_and_methods_that_are_not_here(
    http: httpx.AsyncClient, method: str, path: str, code: int, reason: str
) -> None:
    reply = await http.request(method, path, headers={"host": "["})
    assert path in refused(reply, code, reason)["error"]
    assert ("allow" in reply.headers) is (code == 405)
