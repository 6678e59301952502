"""tritonclient, unmodified: its clients over gRPC and HTTP, synchronous and for asyncio."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seqserve.signature import CPU_TOLERANCE
from support.clients import Told, ask, assert_rows_agree
from support.digits import Digits
from support.served import Served

OVER_GRPC = ("grpc", "grpc.aio")
OVER_HTTP = ("http", "http.aio")
HTTP_STATUS = {
    "INVALID_ARGUMENT": "400",
    "NOT_FOUND": "404",
    "UNAVAILABLE": "503",
    "DEADLINE_EXCEEDED": "504",
}
# What is wrong with a request, and how the refusal says so.
WRONG = {
    "model": ("NOT_FOUND", "nobody"),
    "version": ("NOT_FOUND", "7"),
    "shape": ("INVALID_ARGUMENT", "[2,14,56]"),
    "range": ("INVALID_ARGUMENT", "0 to 1"),
    "value": ("INVALID_ARGUMENT", "nan"),
    "datatype": ("INVALID_ARGUMENT", "FP64"),
    "input": ("INVALID_ARGUMENT", "picture"),
    "output": ("INVALID_ARGUMENT", "logits"),
    "sequence": ("INVALID_ARGUMENT", "sequence"),
}
# FP16 and BF16 hold fewer digits of a pixel than FP32 does.
COARSE = {"FP16": 2e-2, "BF16": 1e-1}


@pytest.fixture(scope="module", params=OVER_GRPC + OVER_HTTP)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def told(kind: str, open_gateway: Served, digits: Digits) -> Told:
    """What one of the clients saw: each runs once, and does all it can."""
    address = open_gateway.grpc if kind.startswith("grpc") else open_gateway.http.removeprefix("http://")
    return ask("triton.py", kind, address, digits.folder)


@pytest.fixture(autouse=True)
def _row(told: Told, record_property: Any) -> None:
    record_property("client", told.client)


def is_http(kind: str) -> bool:
    return kind in OVER_HTTP


def assert_refused(refusal: dict[str, str], code: str, *words: str, kind: str) -> None:
    """The status as this client shows it, and our words."""
    assert refusal["status"] == (HTTP_STATUS[code] if is_http(kind) else f"StatusCode.{code}"), refusal
    assert all(word in refusal["message"] for word in words), refusal
    assert "an exception occurred in the client" not in refusal["message"]


def numbers(value: Any) -> Any:
    """A document with whole numbers as such: protobuf's JSON has strings."""
    if isinstance(value, dict):
        return {key: numbers(held) for key, held in value.items()}
    if isinstance(value, list):
        return [numbers(held) for held in value]
    return int(value) if isinstance(value, str) and value.removeprefix("-").isdecimal() else value


def test_server_live_and_ready(told: Told) -> None:
    assert told["readiness"]["live"] is told["readiness"]["ready"] is True


def test_model_ready(told: Told) -> None:
    assert told["readiness"]["models"] == {"digit_mlp": True, "line": True, "nobody": False}
    assert told["readiness"]["versions"] == {"1": True, "7": False}


def test_server_metadata(told: Told, kind: str) -> None:
    server = told["metadata"]["server"]

    assert server["name"] == "seqserve"
    extensions = {"classification", "model_configuration", "statistics", "model_repository"}
    assert set(server["extensions"]) == extensions | ({"binary_tensor_data"} if is_http(kind) else set())


def test_model_metadata(told: Told) -> None:
    model = told["metadata"]["model"]

    assert (model["name"], model["versions"], model["platform"]) == (
        "digit_mlp",
        ["1"],
        "pytorch_torchscript",
    )
    assert numbers(model["inputs"]) == [{"name": "image", "datatype": "FP32", "shape": [-1, 784]}]
    assert numbers(model["outputs"]) == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}]


def test_model_config(told: Told, kind: str) -> None:
    config = numbers(told["config"] if is_http(kind) else told["config"]["config"])

    assert (config["name"], config["platform"]) == ("digit_mlp", "pytorch_torchscript")
    assert config["max_batch_size"] == 256
    [image], [probabilities] = config["input"], config["output"]
    assert (image["name"], image["data_type"], image["dims"]) == ("image", "TYPE_FP32", [784])
    assert (probabilities["name"], probabilities["dims"]) == ("probabilities", [10])


def test_statistics(told: Told) -> None:
    def of(document: Any, name: str = "digit_mlp") -> Any:
        [model] = [model for model in numbers(document)["model_stats"] if model["name"] == name]
        return model

    seen = told["statistics"]
    before, after = of(seen["before"]), of(seen["after"])
    assert after["inference_count"] - before.get("inference_count", 0) == 8
    assert after["execution_count"] - before.get("execution_count", 0) == 1
    for phase in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        duration, earlier = after["inference_stats"][phase], before.get("inference_stats", {}).get(phase, {})
        assert duration["count"] > earlier.get("count", 0)
        assert duration["ns"] > earlier.get("ns", 0)
    assert any(batch["batch_size"] == 8 for batch in after["batch_stats"])
    assert of(seen["all"]) == after
    assert of(seen["all"], "line")["version"] == 1


def test_infer_raw(told: Told, digits: Digits) -> None:
    assert_rows_agree(told["raw"]["rows"], digits.expected[:8])
    assert told["raw"]["version"] == "1"


def test_receipt_in_the_parameters_of_a_reply(told: Told, kind: str) -> None:
    receipt = told["raw"]["receipt"]
    if not is_http(kind):
        receipt = {name: next(iter(choice.values())) for name, choice in receipt.items()}

    assert (receipt["seqserve_engine"], receipt["seqserve_device"]) == ("embedded", "cpu")
    assert int(receipt["seqserve_batch_size"]) == 8


@pytest.mark.parametrize("kind", OVER_HTTP, indirect=True, scope="module")
def test_infer_json(told: Told, digits: Digits) -> None:
    assert told["json"]["is binary"] is False
    assert_rows_agree(told["json"]["rows"], digits.expected[:8])


def test_pixels_half_precision_and_other_layouts(told: Told, digits: Digits) -> None:
    for form in ("UINT8", "CHW"):
        assert_rows_agree(told["datatypes"][form], digits.expected[:4])
    assert_rows_agree(told["datatypes"]["no batch"], digits.expected[:1])
    for datatype, bound in COARSE.items():
        np.testing.assert_allclose(told["datatypes"][datatype], digits.expected[:4], atol=bound)


def test_png_files_as_bytes(told: Told, digits: Digits) -> None:
    assert_rows_agree(told["datatypes"]["BYTES"], digits.expected[:4])


def test_classification(told: Told, digits: Digits, kind: str) -> None:
    for row, expected in zip(told["classification"]["three"], digits.expected, strict=False):
        best = expected.argsort()[::-1][:3]
        assert [element.split(":")[1:] for element in row] == [[str(index), str(index)] for index in best]
        values = [float(element.split(":")[0]) for element in row]
        np.testing.assert_allclose(values, expected[best], rtol=1e-3, atol=CPU_TOLERANCE.absolute)
    assert [len(row) for row in told["classification"]["all"]] == [10]
    assert_refused(told["classification"]["regression"], "INVALID_ARGUMENT", kind=kind)


def test_repository_index_load_and_unload(told: Told, kind: str) -> None:
    seen = told["repository"]

    assert seen["first"] == {"states": {"digit_mlp": "READY", "line": "READY"}, "ready": True}
    assert seen["without"]["states"]["digit_mlp"] == "READY"
    assert seen["without"]["states"].get("line") != "READY"
    assert seen["without"]["ready"] is False
    assert_refused(seen["without"]["refusal"], "UNAVAILABLE", "line", kind=kind)
    assert seen["again"] == {**seen["first"], "shape": [2, 1]}


def test_load_refuses_unknown_models_and_overrides(told: Told, kind: str) -> None:
    assert_refused(told["repository_refusals"]["unknown"], "NOT_FOUND", "nobody", kind=kind)
    assert_refused(told["repository_refusals"]["override"], "INVALID_ARGUMENT", "config", kind=kind)


def test_timeout_of_a_request(told: Told, digits: Digits, kind: str) -> None:
    assert_refused(told["deadline"]["short"], "DEADLINE_EXCEEDED", kind=kind)
    assert_rows_agree(told["deadline"]["long"], digits.expected[:8])


@pytest.mark.parametrize("kind", OVER_GRPC, indirect=True, scope="module")
def test_deadline_of_a_call(told: Told, digits: Digits) -> None:
    assert told["call_deadline"]["short"]["status"] == "StatusCode.DEADLINE_EXCEEDED"
    assert_rows_agree(told["call_deadline"]["long"], digits.expected[:8])


@pytest.mark.parametrize("wrong", WRONG)
def test_status_and_words_for_a_wrong(told: Told, kind: str, wrong: str) -> None:
    code, words = WRONG[wrong]
    assert_refused(told["refusals"][wrong], code, words, kind=kind)


def test_extensions_that_are_not_listed_are_refused(told: Told, kind: str) -> None:
    for refusal in told["not_offered"].values():
        assert refusal["status"] == ("404" if is_http(kind) else "StatusCode.UNIMPLEMENTED"), refusal
        assert "an exception occurred in the client" not in refusal["message"]


def test_request_id(told: Told) -> None:
    assert told["request_id"] == "order 7, Zürich"


def test_version_by_number(told: Told, digits: Digits) -> None:
    assert_rows_agree(told["version_by_number"], digits.expected[:8])


def test_compression_asked_for(told: Told, digits: Digits, open_gateway: Served, kind: str) -> None:
    if open_gateway.events()["listening"]["front"] == "native" and not is_http(kind):
        pytest.skip("the native front refuses compressed calls (docs/fronts.md, test_hostile_http2.py)")
    assert_rows_agree(told["compression"], digits.expected[:8])


@pytest.mark.parametrize("kind", OVER_HTTP, indirect=True, scope="module")
def test_compressed_body_is_refused_with_415(told: Told) -> None:
    assert told["compressed_body"]["status"] == "415"
    assert "gzip" in told["compressed_body"]["message"]


def test_64_requests_at_once(told: Told, digits: Digits) -> None:
    assert_rows_agree(told["concurrent"], digits.expected)
