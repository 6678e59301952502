"""KServe's client, unmodified, over gRPC and REST; in an environment of its own, see `make clients`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from support.clients import Told, ask, assert_rows_agree, program_apart
from support.digits import Digits
from support.served import Served

pytestmark = pytest.mark.long

HTTP_STATUS = {"INVALID_ARGUMENT": "400", "NOT_FOUND": "404", "DEADLINE_EXCEEDED": "504"}

# What is wrong with a request, and how the refusal says so.
WRONG = {
    "model": ("NOT_FOUND", "nobody"),
    "shape": ("INVALID_ARGUMENT", "[2,14,56]"),
    "range": ("INVALID_ARGUMENT", "0 to 1"),
    "datatype": ("INVALID_ARGUMENT", "FP64"),
    "input": ("INVALID_ARGUMENT", "picture"),
    "output": ("INVALID_ARGUMENT", "logits"),
}


@pytest.fixture(scope="module", params=["grpc", "rest"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def told(kind: str, open_gateway: Served, digits: Digits) -> Told:
    """What one of the clients saw: each runs once, and does all it can."""
    address = open_gateway.grpc if kind == "grpc" else open_gateway.http
    return ask("kserve_client.py", kind, address, digits.folder, python=program_apart("python"))


@pytest.fixture(autouse=True)
def _row(told: Told, record_property: Any) -> None:
    record_property("client", told.client)


def assert_refused(refusal: dict[str, str], code: str, *words: str, kind: str) -> None:
    """The status as this client shows it, and our words."""
    assert refusal["status"] == (code if kind == "grpc" else HTTP_STATUS[code]), refusal
    assert all(word in refusal["message"] for word in words), refusal


def test_server_live_and_ready(told: Told) -> None:
    assert told["readiness"]["live"] is told["readiness"]["ready"] is True


def test_model_ready(told: Told) -> None:
    assert told["readiness"]["models"] == {"digit_mlp": True, "line": True, "nobody": False}


def test_infer_raw(told: Told, digits: Digits) -> None:
    assert_rows_agree(told["raw_rows"], digits.expected[:8])


@pytest.mark.parametrize("datatype", ["FP32", "UINT8"])
def test_infer_typed(told: Told, digits: Digits, datatype: str) -> None:
    assert_rows_agree(told["typed_rows"][datatype], digits.expected[:8])


def test_png_files_as_bytes(told: Told, digits: Digits) -> None:
    assert_rows_agree(told["pictures"], digits.expected[:4])


def test_classification(told: Told, digits: Digits) -> None:
    for row, expected in zip(told["classification"], digits.expected, strict=False):
        best = [str(index) for index in expected.argsort()[::-1][:3]]
        assert [element.split(":")[1:] for element in row] == [[index, index] for index in best]
        np.testing.assert_allclose(
            [float(element.split(":")[0]) for element in row], sorted(expected)[:-4:-1], rtol=1e-3
        )


def test_request_id_version_and_receipt(told: Told, kind: str) -> None:
    receipt = told["receipt"]

    assert (receipt["id"], receipt["model"]) == ("order 7, Zürich", "digit_mlp")
    assert receipt["version"] == ("1" if kind == "grpc" else None)  # its REST client does not read it
    assert {"seqserve_batch_size", "seqserve_engine", "seqserve_compute_ns"} <= set(receipt["parameters"])


def test_timeout_of_a_request(told: Told, digits: Digits, kind: str) -> None:
    assert_refused(told["deadline"]["short"], "DEADLINE_EXCEEDED", kind=kind)
    assert_rows_agree(told["deadline"]["long"], digits.expected[:8])


@pytest.mark.parametrize("kind", ["grpc"], indirect=True, scope="module")
def test_deadline_of_a_call(told: Told, digits: Digits) -> None:
    assert told["call_deadline"]["short"]["status"] == "DEADLINE_EXCEEDED"
    assert_rows_agree(told["call_deadline"]["long"], digits.expected[:8])


@pytest.mark.parametrize("wrong", WRONG)
def test_status_and_words_for_a_wrong(told: Told, kind: str, wrong: str) -> None:
    code, words = WRONG[wrong]
    assert_refused(told["refusals"][wrong], code, words, kind=kind)


def test_64_requests_at_once(told: Told, digits: Digits) -> None:
    assert_rows_agree(told["concurrent"], digits.expected)
