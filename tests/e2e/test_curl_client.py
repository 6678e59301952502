"""REST as anybody tries it first: curl, with JSON and with binary values behind the JSON."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from support.clients import assert_rows_agree
from support.curl import Reply, curl, curl_version
from support.digits import Digits
from support.served import Served

INFER = "/v2/models/digit_mlp/infer"
BINARY_OUTPUT = {"name": "probabilities", "parameters": {"binary_data": True}}


class Ask(Protocol):
    """Fetches a path of the gateway with curl's options."""

    def __call__(self, path: str, *options: str | Path) -> Reply: ...


@pytest.fixture
def ask(open_gateway: Served, tmp_path: Path) -> Ask:
    return lambda path, *options: curl(tmp_path, f"{open_gateway.http}{path}", *options)


@pytest.fixture(autouse=True)
def _row(record_property: Any) -> None:
    record_property("client", curl_version())


def tensor(values: Any, **fields: Any) -> dict[str, Any]:
    """An FP32 input without its values."""
    return {"name": "image", "datatype": "FP32", "shape": list(values.shape), **fields}


def posted(folder: Path, document: Any) -> list[str | Path]:
    """Options that send JSON from a file: rows are longer than a command line."""
    path = folder / "request.json"
    path.write_text(json.dumps(document))
    return ["--header", "Content-Type: application/json", "--data-binary", f"@{path}"]


def posted_binary(folder: Path, document: Any, values: bytes) -> list[str | Path]:
    """Options that send JSON with the values behind it."""
    path, head = folder / "request.bin", json.dumps(document).encode()
    path.write_bytes(head + values)
    return [
        "--header", f"Inference-Header-Content-Length: {len(head)}",
        "--header", "Content-Type: application/octet-stream",
        "--data-binary", f"@{path}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/v2/models/digit_mlp/ready"]
)
def test_probe(ask: Ask, path: str) -> None:
    assert ask(path).status == 200


def test_readiness_of_an_unknown_model_is_404(ask: Ask) -> None:
    assert ask("/v2/models/nobody/ready").status == 404


def test_server_and_model_metadata(ask: Ask) -> None:
    assert ask("/v2").document()["name"] == "seqserve"
    model = ask("/v2/models/digit_mlp/versions/1").document()
    assert model["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 784]}]


def test_model_config_and_statistics(ask: Ask) -> None:
    assert ask("/v2/models/digit_mlp/config").document()["max_batch_size"] == 256
    assert ask("/v2/models/stats").document()["model_stats"]


def test_infer_json(ask: Ask, tmp_path: Path, digits: Digits) -> None:
    rows = digits.rows[:8]
    reply = ask(INFER, *posted(tmp_path, {"id": "7", "inputs": [tensor(rows, data=rows.tolist())]}))

    assert reply.status == 200, reply.body
    assert (reply.document()["id"], reply.document()["model_version"]) == ("7", "1")
    [output] = reply.document()["outputs"]
    assert_rows_agree(np.reshape(output["data"], output["shape"]), digits.expected[:8])


def test_infer_binary(ask: Ask, tmp_path: Path, digits: Digits) -> None:
    values = digits.rows[:8].tobytes()
    image = tensor(digits.rows[:8], parameters={"binary_data_size": len(values)})
    reply = ask(INFER, *posted_binary(tmp_path, {"inputs": [image], "outputs": [BINARY_OUTPUT]}, values))

    assert reply.status == 200, reply.body
    [output] = reply.document()["outputs"]
    assert output["parameters"]["binary_data_size"] == 8 * 10 * 4
    rows = np.frombuffer(reply.values(), "<f4").reshape(output["shape"])
    assert_rows_agree(rows, digits.expected[:8])


def test_infer_with_a_body_in_chunks_after_100_continue(ask: Ask, tmp_path: Path, digits: Digits) -> None:
    rows = np.tile(digits.rows, (6, 1))  # more than 1 MB, so that curl waits for "100 Continue"
    values = rows.tobytes()
    image = tensor(rows, parameters={"binary_data_size": len(values)})
    options = posted_binary(tmp_path, {"inputs": [image], "outputs": [BINARY_OUTPUT]}, values)
    reply = ask(INFER, *options, "--header", "Transfer-Encoding: chunked", "--header", "Expect: 100-continue")

    assert reply.status == 200, reply.body
    assert_rows_agree(np.frombuffer(reply.values(), "<f4").reshape(-1, 10), np.tile(digits.expected, (6, 1)))


def test_infer_png_files(ask: Ask, tmp_path: Path, digits: Digits) -> None:
    picture = (digits.folder / "0.png").read_bytes()
    framed = len(picture).to_bytes(4, "little") + picture
    image = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [1],
        "parameters": {"binary_data_size": len(framed)},
    }
    reply = ask(INFER, *posted_binary(tmp_path, {"inputs": [image]}, framed))

    assert reply.status == 200, reply.body
    assert_rows_agree([reply.document()["outputs"][0]["data"]], digits.expected[:1])


def test_classification(ask: Ask, tmp_path: Path, digits: Digits) -> None:
    rows = digits.rows[:4]
    outputs = [{"name": "probabilities", "parameters": {"classification": 1}}]
    request = {"inputs": [tensor(rows, data=rows.tolist())], "outputs": outputs}
    [output] = ask(INFER, *posted(tmp_path, request)).document()["outputs"]

    assert (output["datatype"], output["shape"]) == ("BYTES", [4, 1])
    assert [int(element.split(":")[1]) for element in output["data"]] == digits.classes(4)


def test_repository_index_load_and_unload(ask: Ask) -> None:
    def state() -> Any:
        index = ask("/v2/repository/index", "--request", "POST").document()
        return {model["name"]: model["state"] for model in index}.get("line")

    assert state() == "READY"
    assert ask("/v2/repository/models/line/unload", "--request", "POST").status == 200
    assert state() != "READY"
    assert ask("/v2/models/line/ready").status == 503
    assert ask("/v2/repository/models/line/load", "--request", "POST").status == 200
    assert state() == "READY"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 784], "data": [NaN]}]}', 400),
        ('{"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 2], "data": [0, 0]}]}', 400),
        ("{", 400),
        ('{"inputs": [], "inputs": []}', 400),
    ],
    ids=["NaN", "shape", "no JSON", "twice the same key"],
)
def test_error_for(ask: Ask, body: str, status: int) -> None:
    reply = ask(INFER, "--header", "Content-Type: application/json", "--data", body)

    assert reply.status == status
    assert reply.document()["error"]


def test_error_for_another_method_or_path(ask: Ask) -> None:
    assert ask(INFER).status == 405
    assert ask("/v2/nothing").status == 404
    assert ask("/v2/nothing").document()["error"]


def test_64_requests_at_once(open_gateway: Served, tmp_path: Path, digits: Digits) -> None:
    def predict(number: int) -> Any:
        folder = tmp_path / str(number)
        folder.mkdir()
        rows = digits.rows[[number]]
        options = posted(folder, {"inputs": [tensor(rows, data=rows.tolist())]})
        return curl(folder, f"{open_gateway.http}{INFER}", *options).document()["outputs"][0]["data"]

    with ThreadPoolExecutor(64) as pool:
        assert_rows_agree(list(pool.map(predict, range(64))), digits.expected)
