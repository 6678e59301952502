"""Whatever is sent to the HTTP port, the answer is a documented one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.rest import HEADER, INFER, Port, infer_document

WORDS = ["image", "probabilities", "FP32", "UINT8", "BYTES", "classification", "\ud800", "sequence_\udfff"]
TEXT = st.sampled_from(WORDS) | st.text(max_size=5)
INTEGERS = st.integers() | st.integers(-5, 5).map(lambda power: power * 10**400)
LEAVES = st.none() | st.booleans() | INTEGERS | st.floats() | TEXT
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)
PARAMETERS = st.dictionaries(
    st.sampled_from(["binary_data", "binary_data_size", "binary_data_output", "classification", "content_type", "timeout"]) | TEXT,
    VALUES, max_size=2,
)  # fmt: skip
MEMBERS = ("id", "inputs", "outputs", "parameters", "name", "datatype", "shape", "data")
BODIES = st.binary(max_size=60)
BEHIND = st.just(b"") | st.binary(max_size=30)
LENGTHS = st.none() | st.integers(-3, 400).map(str) | st.text("0123456789+-. x", max_size=8)
# Too many examples, unknown and known names, wrong and right: 429 and 503 are a matter of load alone.
DOCUMENTED = {200, 400, 404, 413, 415, 504}


@st.composite
def nearly_right(draw: st.DrawFn) -> dict[str, Any]:
    """An inference request with up to three members, anywhere, replaced by something else."""
    document: dict[str, Any] = infer_document(outputs=[{"name": "probabilities"}])
    document["inputs"][0]["parameters"], document["parameters"] = draw(PARAMETERS), draw(PARAMETERS)
    places = [document, document["inputs"][0], document["outputs"][0]]
    for _ in range(draw(st.integers(0, 3))):
        draw(st.sampled_from(places))[draw(st.sampled_from(MEMBERS))] = draw(VALUES)
    return document


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def http(loop: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> httpx.AsyncClient:
    folder: Path = tmp_path_factory.mktemp("store")

    async def client() -> httpx.AsyncClient:
        return await Port().client(folder)

    return loop.run(client())


def check(loop: asyncio.Runner, call: Any) -> httpx.Response:
    """The answer, which is documented and, where it refuses, says why."""
    reply: httpx.Response = loop.run(call)
    assert reply.status_code in DOCUMENTED, reply.text
    assert reply.headers["x-request-id"]
    if reply.status_code != 200:
        refusal = reply.json()
        assert refusal["error"]
        assert refusal["reason"].isupper()
    return reply


QUICK = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(body=nearly_right().map(json.dumps).map(str.encode) | BODIES, behind=BEHIND, length=LENGTHS)
def test_any_body_and_any_length_of_its_json(
    loop: asyncio.Runner, http: httpx.AsyncClient, body: bytes, behind: bytes, length: str | None
) -> None:
    headers = [] if length is None else [(HEADER.encode(), length.encode())]
    check(loop, http.post(INFER, content=body + behind, headers=headers))


@QUICK
@given(document=nearly_right(), behind=BEHIND)
def test_any_document_with_a_true_length(
    loop: asyncio.Runner, http: httpx.AsyncClient, document: dict[str, Any], behind: bytes
) -> None:
    head = json.dumps(document).encode()
    check(loop, http.post(INFER, content=head + behind, headers={HEADER: str(len(head))}))


@QUICK
@given(
    name=st.sampled_from(["content-encoding", "content-type", "x-request-id", "expect", "accept-encoding"]),
    value=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=70),
)
def test_any_header(loop: asyncio.Runner, http: httpx.AsyncClient, name: str, value: str) -> None:
    reply = check(loop, http.post(INFER, json=infer_document(), headers=[(name, value)]))
    assert reply.status_code == 200 or name == "content-encoding"


@QUICK
@given(
    path=st.lists(
        st.sampled_from(["v2", "models", "tiny", "versions", "1", "infer", "stats", "%2e%2e", "%ff", "é"]),
        max_size=6,
    )
)
def test_any_path(loop: asyncio.Runner, http: httpx.AsyncClient, path: list[str]) -> None:
    reply = loop.run(http.get("/" + "/".join(path)))
    assert reply.status_code in {200, 404, 405}
