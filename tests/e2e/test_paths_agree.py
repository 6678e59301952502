"""The main claim: every held-out digit gets the same answer over every path, from one archive."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import numpy.typing as npt
import pytest
import torch

from seqserve.archive import read_archive
from seqserve.pb import inference_pb2 as pb
from seqserve.signature import CPU_TOLERANCE
from seqserve_models.dataset import to_values
from seqserve_models.datasets import load_digits
from support.archives import FloatArray
from support.oip import inference_stub, rows_of
from support.served import Served, serving

HTTP_ROWS = 90
GOOD = [[0.5] * 784]

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    """All held-out digits, UINT8 [359, 28, 28]."""
    return load_digits().test_inputs


@pytest.fixture(scope="module")
def eager(store: Path, pixels: Pixels) -> FloatArray:
    """What the archive's module answers outside of any server: [359, 10]."""
    content = read_archive(store / "digit_mlp-1.mar").torchscript
    with warnings.catch_warnings():  # TorchScript's deprecation is no news here
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(io.BytesIO(content))  # type: ignore[no-untyped-call]  # torch's
    with torch.inference_mode():
        rows: FloatArray = module(torch.from_numpy(to_values(pixels).reshape(-1, 784))).numpy()
    return rows


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Iterator[Served]:
    """The embedded engine, and a TorchServe beside it."""
    with serving(tmp_path_factory.mktemp("beside"), store, "--with-torchserve") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Iterator[Served]:
    """The gateway in front of a TorchServe."""
    with serving(tmp_path_factory.mktemp("before"), store, "--engine", "torchserve") as gateway:
        yield gateway


def over_grpc(gateway: Served, pixels: Pixels) -> FloatArray:
    """One request with all the pixels as they are."""
    request = pb.ModelInferRequest(model_name="digit_mlp")
    request.inputs.add(name="image", datatype="UINT8", shape=pixels.shape)
    request.raw_input_contents.append(pixels.tobytes())
    with grpc.insecure_channel(gateway.grpc) as channel:
        return rows_of(inference_stub(channel).ModelInfer(request, timeout=60))


def post(gateway: Served, content: str | bytes, **headers: str) -> httpx.Response:
    """POST to the model in TorchServe."""
    return httpx.post(
        f"{gateway.torchserve}/predictions/digit_mlp",
        content=content,
        headers={"Authorization": f"Bearer {gateway.torchserve_token}", "Content-Type": "application/json"}
        | headers,
        timeout=60,
    )


def over_http(gateway: Served, pixels: Pixels) -> FloatArray:
    """JSON, in requests of a size that TorchServe takes."""
    rows: list[list[float]] = []
    for start in range(0, len(pixels), HTTP_ROWS):
        instances = to_values(pixels[start : start + HTTP_ROWS]).tolist()
        response = post(gateway, json.dumps({"instances": instances}))
        assert response.status_code == 200, response.text
        rows += [prediction["probabilities"] for prediction in response.json()["predictions"]]
    return np.array(rows, np.float32)


def assert_agree(answers: FloatArray, expected: FloatArray) -> None:
    """Within the bound everywhere; the same best class wherever the two best differ by more than that."""
    assert answers.shape == expected.shape == (359, 10)
    bound = CPU_TOLERANCE.absolute + CPU_TOLERANCE.relative * np.abs(expected)
    assert (np.abs(answers - expected) <= bound).all(), np.abs(answers - expected).max()
    second, best = np.sort(expected, axis=1)[:, -2:].T
    is_clear = best - second > 2 * bound.max()
    assert is_clear.sum() > 300
    np.testing.assert_array_equal(answers.argmax(axis=1)[is_clear], expected.argmax(axis=1)[is_clear])


def test_the_embedded_engine_agrees_with_the_module(
    beside: Served, pixels: Pixels, eager: FloatArray
) -> None:
    assert_agree(over_grpc(beside, pixels), eager)


def test_torchserve_over_http_agrees_with_the_module(
    beside: Served, pixels: Pixels, eager: FloatArray
) -> None:
    assert_agree(over_http(beside, pixels), eager)


def test_the_torchserve_engine_agrees_with_the_module(
    before: Served, pixels: Pixels, eager: FloatArray
) -> None:
    assert_agree(over_grpc(before, pixels), eager)
    assert before.events()["model ready"]["engine"] == "torchserve"


BAD = {
    "a pixel too few": (json.dumps([[0.5] * 783]), "SHAPE_NOT_ACCEPTED", "783"),
    "another shape": (json.dumps(np.zeros((2, 14, 56)).tolist()), "SHAPE_NOT_ACCEPTED", "[2,14,56]"),
    "0 to 255": (json.dumps([[255.0] * 784]), "OUT_OF_RANGE", "255"),
    "NaN": (json.dumps([[float("nan")] * 784]), "NOT_FINITE", "nan"),
}


@pytest.mark.parametrize(("content", "reason", "came"), BAD.values(), ids=BAD)
def test_a_bad_row_over_torchserves_http_is_400_with_words_that_help(
    beside: Served, content: str, reason: str, came: str
) -> None:
    response = post(beside, content)

    assert response.status_code == 400
    assert response.json()["reason"] == reason
    assert "image" in response.json()["error"]
    assert came in response.json()["error"].lower()


@pytest.mark.parametrize("content", ["", "{", '"seven"', '{"pixels": []}'])
def test_what_holds_no_rows_is_400(beside: Served, content: str) -> None:
    response = post(beside, content)

    assert response.status_code == 400
    assert response.json()["error"]


def test_another_content_type_is_415(beside: Served) -> None:
    assert post(beside, "0.5", **{"Content-Type": "text/csv"}).status_code == 415


def test_after_bad_rows_good_ones_are_answered(beside: Served) -> None:
    assert post(beside, "nonsense").status_code == 400

    response = post(beside, json.dumps({"instances": GOOD}))
    assert response.status_code == 200
    assert sum(response.json()["predictions"][0]["probabilities"]) == pytest.approx(1.0, abs=1e-3)
