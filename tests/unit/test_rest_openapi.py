"""The OpenAPI document: that it is whole, and that answers are as it says."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from seqserve.http_api import documents
from support.rest import INFER, Port, infer_document


class Control:
    """Knows no model."""

    async def load(self, name: str) -> None:
        raise NotImplementedError

    async def unload(self, name: str) -> None:
        raise NotImplementedError


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with await Port(control=Control()).client(tmp_path) as client:
        yield client


@pytest.fixture
async def openapi(http: httpx.AsyncClient) -> Any:
    return (await http.get("/openapi.json")).json()


def references(node: Any) -> Iterator[str]:
    """Every `$ref` in a document."""
    if isinstance(node, dict):
        yield from (node["$ref"] for _ in [0] if isinstance(node.get("$ref"), str))
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from references(child)


def test_it_describes_every_call_of_the_protocol(openapi: Any) -> None:
    calls = {(method, path) for path, methods in openapi["paths"].items() for method in methods}
    model = "/v2/models/{model}"
    of_model = [("get", ""), ("get", "/ready"), ("get", "/config"), ("get", "/stats"), ("post", "/infer")]
    assert calls == {
        ("get", "/v2"), ("get", "/v2/health/live"), ("get", "/v2/health/ready"), ("get", "/v2/models"),
        ("get", "/v2/models/stats"), ("post", "/v2/repository/index"),
        ("post", "/v2/repository/models/{model}/load"), ("post", "/v2/repository/models/{model}/unload"),
        *((method, f"{model}{version}{end}") for method, end in of_model for version in ("", "/versions/{version}")),
    }  # fmt: skip


async def test_what_is_not_served_is_not_described(tmp_path: Path) -> None:
    async with await Port().client(tmp_path) as without_control:
        described = (await without_control.get("/openapi.json")).json()
    assert not any("/repository/" in path for path in described["paths"])


def test_every_reference_leads_somewhere(openapi: Any) -> None:
    found = set(references(openapi))
    assert found
    assert found <= {f"#/components/schemas/{name}" for name in openapi["components"]["schemas"]}


def test_path_parameters_and_operation_ids_are_complete(openapi: Any) -> None:
    operations = [(path, each) for path, methods in openapi["paths"].items() for each in methods.values()]
    for path, operation in operations:
        named = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))
        assert {"200", "500"} <= set(operation["responses"])
    assert len({operation["operationId"] for _, operation in operations}) == len(operations)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v2", documents.ServerMetadata),
        ("/v2/health/live", documents.ServerLive),
        ("/v2/health/ready", documents.ServerReady),
        ("/v2/models", documents.ModelNames),
        ("/v2/models/tiny", documents.ModelMetadata),
        ("/v2/models/tiny/ready", documents.ModelReady),
        ("/v2/models/stats", documents.StatisticsReply),
        ("/v2/models/nobody", documents.Refusal),
        ("/v2/nowhere", documents.Refusal),
    ],
)
async def test_answers_hold_what_their_documents_name(
    http: httpx.AsyncClient, path: str, kind: type[documents.Document]
) -> None:
    answered = (await http.get(path)).json()
    assert kind.model_validate(answered).model_dump(exclude_none=True) == answered


async def test_an_inference_answer_holds_what_its_document_names(http: httpx.AsyncClient) -> None:
    answered = (await http.post(INFER, json=infer_document(id="x"))).json()
    document = documents.InferReply.model_validate(answered)
    assert json.loads(document.model_dump_json(exclude_none=True)) == answered


def test_a_request_id_may_be_anything_since_one_that_does_not_fit_is_replaced(openapi: Any) -> None:
    described = [
        parameter["schema"]
        for methods in openapi["paths"].values()
        for operation in methods.values()
        for parameter in operation["parameters"]
        if parameter["name"] == "x-request-id"
    ]
    assert described
    assert all(schema == {"type": "string"} for schema in described)


def test_load_is_described_as_taking_no_parameters(openapi: Any) -> None:
    (content,) = openapi["paths"]["/v2/repository/models/{model}/load"]["post"]["requestBody"][
        "content"
    ].values()
    kind = content["schema"]["$ref"].rpartition("/")[2]
    parameters = openapi["components"]["schemas"][kind]["properties"]["parameters"]["anyOf"][0]
    assert (parameters["type"], parameters["maxProperties"]) == ("object", 0)
