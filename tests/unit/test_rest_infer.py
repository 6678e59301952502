"""Inference over HTTP, in this process: the forms of requests and answers, and which version answers."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from seqserve.repository.routing import Routing
from support.engines import expected_answers
from support.pictures import picture
from support.rest import HEADER, IMAGE, INFER, Port, answers_of, binary, infer_document

EXPECTED = expected_answers(IMAGE, 2)
PIXELS = np.arange(6, dtype=np.uint8).reshape(2, 3)


@pytest.fixture
def port() -> Port:
    return Port()


@pytest.fixture
async def http(tmp_path: Path, port: Port) -> AsyncIterator[httpx.AsyncClient]:
    async with await port.client(tmp_path) as client:
        yield client


def wanted(**parameters: Any) -> dict[str, Any]:
    return {"outputs": [{"name": "probabilities", "parameters": parameters}]}


async def test_json_is_answered_in_json_with_a_receipt(http: httpx.AsyncClient) -> None:
    reply = await http.post(INFER, json=infer_document(id="mine"))

    np.testing.assert_array_equal(answers_of(reply), EXPECTED)
    document = reply.json()
    assert (document["id"], document["model_name"], document["model_version"]) == ("mine", "tiny", "2")
    receipt = document["parameters"]
    assert receipt["seqserve_batch_size"] == 1
    assert (receipt["seqserve_engine"], receipt["seqserve_device"]) == ("fake", "cpu")
    assert len(receipt["seqserve_archive_sha256"]) == 64
    assert receipt["seqserve_compute_ns"] > 0


async def test_an_answer_without_an_id_has_none(http: httpx.AsyncClient) -> None:
    assert "id" not in (await http.post(INFER, json=infer_document())).json()


@pytest.mark.parametrize("rows", [IMAGE, IMAGE.reshape(2, 3), IMAGE.reshape(1, 1, 2, 3)])
async def test_nested_arrays_of_any_accepted_shape(
    http: httpx.AsyncClient, rows: np.ndarray[Any, Any]
) -> None:
    document = infer_document(rows)
    document["inputs"][0]["data"] = rows.tolist()
    np.testing.assert_array_equal(answers_of(await http.post(INFER, json=document)), EXPECTED)


@pytest.mark.parametrize("form", [{}, {"parameters": {"binary_data_output": True}}, wanted(binary_data=True)])
async def test_bytes_behind_the_json_mean_the_same(http: httpx.AsyncClient, form: dict[str, Any]) -> None:
    body, headers = binary(infer_document(id="b", **form), IMAGE.tobytes())

    reply = await http.post(INFER, content=body, headers=headers)

    np.testing.assert_array_equal(answers_of(reply), EXPECTED)
    assert (HEADER in reply.headers) == bool(form)
    media_type = "application/octet-stream" if form else "application/json"
    assert reply.headers["content-type"] == media_type


@pytest.mark.parametrize(
    ("of_all", "of_one", "kind"),
    [
        (True, {}, "octet-stream"),
        (True, {"binary_data": False}, "json"),
        (False, {"binary_data": True}, "octet-stream"),
    ],
)
async def test_an_outputs_own_parameter_goes_before_the_requests(
    http: httpx.AsyncClient, of_all: Any, of_one: dict[str, Any], kind: str
) -> None:
    document = infer_document(parameters={"binary_data_output": of_all}, **wanted(**of_one))

    reply = await http.post(INFER, json=document)

    assert reply.headers["content-type"] == f"application/{kind}"
    np.testing.assert_array_equal(answers_of(reply), EXPECTED)


@pytest.mark.parametrize("form", [{}, {"binary_data": True}])
async def test_the_best_classes_are_named(http: httpx.AsyncClient, form: dict[str, Any]) -> None:
    reply = await http.post(INFER, json=infer_document(**wanted(classification=9, **form)))

    length = int(reply.headers.get(HEADER, len(reply.content)))
    (output,) = json.loads(reply.content[:length])["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [1, 2])
    (first,) = EXPECTED
    best, other = (f"{first[index]:f}:{index}:{label}" for index, label in enumerate(("dark", "bright")))
    names = [best, other] if first[0] >= first[1] else [other, best]
    if form:
        framed = b"".join(len(name).to_bytes(4, "little") + name.encode() for name in names)
        assert reply.content[length:] == framed
    else:
        assert output["data"] == names


async def test_pictures_come_as_bytes_or_as_base64(http: httpx.AsyncClient) -> None:
    file = picture({"png": {"size": [3, 2], "depth": 8, "colour": 0, "scan": "00 00 01 02 00 03 04 05"}})
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1]}
    framed = len(file).to_bytes(4, "little") + file
    body, headers = binary({"inputs": [dict(tensor)]}, framed)
    text = base64.b64encode(file).decode()
    in_json = {"inputs": [{**tensor, "data": [text], "parameters": {"content_type": "base64"}}]}
    expected = expected_answers(PIXELS.reshape(1, 6).astype(np.float32) / np.float32(255), 2)

    for reply in (
        await http.post(INFER, content=body, headers=headers),
        await http.post(INFER, json=in_json),
    ):
        np.testing.assert_array_equal(answers_of(reply), expected)


async def test_a_request_larger_than_a_batch_is_split_and_joined(http: httpx.AsyncClient, port: Port) -> None:
    rows = np.random.default_rng(0).random((7, 6), np.float32)

    reply = await http.post(INFER, json=infer_document(rows))

    np.testing.assert_array_equal(answers_of(reply), expected_answers(rows, 2))
    assert port.engine.batches == [4, 3]


async def test_long_bodies_and_long_answers_are_read_and_written_whole(
    http: httpx.AsyncClient, port: Port
) -> None:
    text = json.dumps(infer_document()).replace('"data": [', '"data": [' + " " * 100_000)
    np.testing.assert_array_equal(answers_of(await http.post(INFER, content=text)), EXPECTED)


async def test_what_nobody_knows_is_ignored_and_null_is_nothing(http: httpx.AsyncClient) -> None:
    document = infer_document(id=None, outputs=None, parameters={"priority": 1}, model_name="other", more=[1])
    document["inputs"][0]["parameters"] = None
    assert (await http.post(INFER, json=document)).status_code == 200


async def test_the_content_type_does_not_matter(http: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}  # as curl -d sends it
    reply = await http.post(INFER, content=json.dumps(infer_document()), headers=headers)
    assert reply.status_code == 200


@pytest.mark.parametrize("version", ["1", "2", "old"])
async def test_a_version_or_a_label_can_be_named(http: httpx.AsyncClient, port: Port, version: str) -> None:
    await port.repository.set_routing({"tiny": Routing(labels={"old": "1"})})
    reply = await http.post(f"/v2/models/tiny/versions/{version}/infer", json=infer_document())
    assert reply.json()["model_version"] == {"old": "1"}.get(version, version)


@pytest.mark.parametrize("way", ["header", "id"])
async def test_a_retry_with_the_same_id_meets_the_same_version_of_a_canary(
    http: httpx.AsyncClient, port: Port, way: str
) -> None:
    await port.repository.set_routing({"tiny": Routing(weights={"1": 1, "2": 1})})

    async def ask(key: str) -> str:
        headers, members = ({"x-request-id": key}, {"id": "same"}) if way == "header" else ({}, {"id": key})
        reply = await http.post(INFER, json=infer_document(**members), headers=headers)
        return str(reply.json()["model_version"])

    first = [await ask(f"call-{number}") for number in range(24)]
    assert set(first) == {"1", "2"}
    assert [await ask(f"call-{number}") for number in range(24)] == first


async def test_an_id_that_fits_is_returned_and_another_is_replaced(http: httpx.AsyncClient) -> None:
    kept = await http.get("/v2", headers={"x-request-id": "Mine.1_2-3"})
    made = await http.get("/v2", headers={"x-request-id": "not mine"})

    assert kept.headers["x-request-id"] == "Mine.1_2-3"
    assert made.headers["x-request-id"] not in ("", "not mine")
