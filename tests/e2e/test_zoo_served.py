"""Every model of the zoo, built in one run, answers over HTTP and gRPC as its module in Python does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import torch

from seqserve.pb import inference_pb2 as pb
from seqserve.signature import CPU_TOLERANCE
from seqserve_models.dataset import DataOptions, to_values
from seqserve_models.zoo import MODELS
from support.archives import FloatArray
from support.oip import inference_stub, rows_of
from support.served import Served, run, serving

pytestmark = pytest.mark.long  # digit_mlp over every path is in test_paths_agree.py

EXAMPLES = 40


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All five, trained for a moment."""
    folder = tmp_path_factory.mktemp("zoo") / "model-store"
    built = run("build", "--all", "--epochs", "3", "--output", folder)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, zoo: Path) -> Iterator[Served]:
    """The embedded engine, and a TorchServe beside it."""
    with serving(tmp_path_factory.mktemp("served"), zoo, "--with-torchserve") as gateway:
        yield gateway


def examples_of(name: str) -> FloatArray:
    """Some that were held out: FP32, shaped as the data set's."""
    definition = MODELS[name]
    dataset = definition.recipes[definition.default_dataset].load(DataOptions())
    return to_values(dataset.test_inputs[:EXAMPLES])


def eager(zoo: Path, name: str, examples: FloatArray) -> FloatArray:
    """What the module of the definition gives with the weights of the checkpoint; no TorchScript."""
    definition = MODELS[name]
    module = definition.build().eval()
    module.load_state_dict(torch.load(zoo / f"{name}-1.checkpoint.pt", weights_only=True)["state_dict"])
    with torch.inference_mode():
        outputs: FloatArray = module(torch.from_numpy(examples).reshape(-1, *definition.input_shape)).numpy()
    return outputs


def over_http(gateway: Served, name: str, examples: FloatArray) -> FloatArray:
    """JSON to TorchServe."""
    response = httpx.post(
        f"{gateway.torchserve}/predictions/{name}",
        content=json.dumps({"instances": examples.tolist()}),
        headers={
            "Authorization": f"Bearer {gateway.torchserve_token}",
            "Content-Type": "application/json",
        },
        timeout=60,
    )
    assert response.status_code == 200, response.text
    rows = response.json()["predictions"]
    return np.array([row["probabilities"] if isinstance(row, dict) else row for row in rows], np.float32)


def over_grpc(gateway: Served, name: str, examples: FloatArray) -> FloatArray:
    """One request with all examples."""
    request = pb.ModelInferRequest(model_name=name)
    request.inputs.add(name=MODELS[name].input_name, datatype="FP32", shape=examples.shape)
    request.raw_input_contents.append(examples.tobytes())
    with grpc.insecure_channel(gateway.grpc) as channel:
        return rows_of(inference_stub(channel).ModelInfer(request, timeout=60))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("answer", [over_http, over_grpc])
def test_a_served_model_answers_as_its_module_does(
    served: Served, zoo: Path, name: str, answer: Callable[[Served, str, FloatArray], FloatArray]
) -> None:
    examples = examples_of(name)
    expected = eager(zoo, name, examples)
    assert np.ptp(expected, axis=0).max() > 0.1  # it does look at its input
    np.testing.assert_allclose(
        answer(served, name, examples), expected, atol=CPU_TOLERANCE.absolute, rtol=CPU_TOLERANCE.relative
    )


def test_every_model_and_no_other_is_ready(served: Served) -> None:
    listed = run("models", "--address", served.grpc)
    assert listed.returncode == 0, listed.stderr
    for name in MODELS:
        assert name in listed.stdout
    assert listed.stdout.upper().count("READY") == len(MODELS)


def test_beside_each_archive_lie_its_hash_its_checkpoint_and_its_report(zoo: Path) -> None:
    suffixes = (".mar", ".mar.sha256", ".checkpoint.pt", ".report.html")
    expected = {f"{name}-1{suffix}" for name in MODELS for suffix in suffixes}
    assert {path.name for path in zoo.iterdir()} == expected
