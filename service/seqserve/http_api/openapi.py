"""The OpenAPI document of the HTTP port, made from the table of its operations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from seqserve import __version__
from seqserve.http_api.binary_extension import HEADER
from seqserve.http_api.documents import Document, Refusal
from seqserve.http_api.operations import Operation
from seqserve.request_ids import REQUEST_ID, REQUEST_ID_PATTERN

_SCHEMAS = "#/components/schemas/"
_BINARY = "application/octet-stream"
_JSON = "application/json"
_BEARER = "bearer"
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "Of a client of the gateway; where it has none, nobody needs a token.",
}


def openapi(operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole document, as JSON has it. Source: OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "seqserve",
            "version": __version__,
            "summary": "Open Inference Protocol v2 over HTTP",
        },
        "paths": paths,
        "components": {"schemas": _schemas(operations), "securitySchemes": {_BEARER: _SCHEME}},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": _operation_id(operation),
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "security": [{_BEARER: [operation.scope]}] if operation.scope else [],  # OpenAPI 3.1: roles
        "responses": {"200": _answer(operation)} | {str(code): _refusal(code) for code in _codes(operation)},
    }
    if operation.body is not None:
        described["requestBody"] = {"content": _content(operation, operation.body)}
    return described


def _codes(operation: Operation) -> list[int]:
    """Of refusals; 401 and 403 where a scope is needed."""
    return sorted({*operation.codes, *((401, 403) if operation.scope else ()), 500})


def _operation_id(operation: Operation) -> str:
    words = re.findall(r"\w+", operation.path.removeprefix("/v2"))
    return "_".join([operation.method.lower(), *words])


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", operation.path)
    found = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    kept = f"Comes back with the answer where it matches {REQUEST_ID_PATTERN.pattern}; else a new one does."
    found.append({"name": REQUEST_ID, "in": "header", "schema": {"type": "string"}, "description": kept})
    if operation.is_inference:
        length = {"type": "integer", "minimum": 0}
        found.append({"name": HEADER, "in": "header", "schema": length})
    return found


def _answer(operation: Operation) -> dict[str, Any]:
    schema = {"type": "object"} if operation.reply is None else operation.reply
    if isinstance(schema, dict):
        return {"description": operation.summary, "content": {_JSON: {}}}
    return {"description": operation.summary, "content": _content(operation, schema)}


def _refusal(code: int) -> dict[str, Any]:
    content = {_JSON: {"schema": {"$ref": f"{_SCHEMAS}{Refusal.__name__}"}}}
    return {"description": HTTPStatus(code).phrase, "content": content}


def _content(operation: Operation, kind: type[Document]) -> dict[str, Any]:
    content: dict[str, Any] = {_JSON: {"schema": {"$ref": f"{_SCHEMAS}{kind.__name__}"}}}
    if operation.is_inference:
        content[_BINARY] = {"schema": {"description": f"JSON of {HEADER} bytes, then tensors as bytes."}}
    return content


def _schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    kinds = {Refusal} | {
        kind for operation in operations for kind in (operation.reply, operation.body) if kind
    }
    ordered = sorted(kinds, key=lambda kind: kind.__name__)
    _, document = models_json_schema(
        [(kind, "validation") for kind in ordered], ref_template=f"{_SCHEMAS}{{model}}"
    )
    schemas: dict[str, Any] = document["$defs"]
    return schemas
