"""A client that others wrote: tritonclient, in a process of its own, since it claims OIP's protobuf package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqserve.archive import Archive, read_archive
from support.served import Served

ASK = """
import json, sys
import numpy as np
import tritonclient.grpc as triton

address, rows_path, answers_path = sys.argv[1:]
client = triton.InferenceServerClient(address)
image = triton.InferInput("image", [8, 784], "FP32")
image.set_data_from_numpy(np.load(rows_path))
reply = client.infer("digit_mlp", [image], outputs=[triton.InferRequestedOutput("probabilities")])
np.save(answers_path, reply.as_numpy("probabilities"))
metadata = client.get_model_metadata("digit_mlp", as_json=True)
try:
    client.infer("nobody", [image])
except triton.InferenceServerException as refused:
    refusal = refused.status(), refused.message()
print(json.dumps({
    "live": client.is_server_live(),
    "ready": client.is_server_ready(),
    "model ready": client.is_model_ready("digit_mlp"),
    "other ready": client.is_model_ready("nobody"),
    "server": client.get_server_metadata(as_json=True),
    "model": metadata,
    "refusal": refusal,
}))
"""


@pytest.fixture(scope="module")
def archive(store: Path) -> Archive:
    return read_archive(store / "digit_mlp-1.mar")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("triton") / "answers.npy"


@pytest.fixture(scope="module")
def told(gateway: Served, archive: Archive, answers: Path) -> Any:
    """What tritonclient saw."""
    rows = answers.with_name("rows.npy")
    np.save(rows, archive.golden_inputs)
    asked = subprocess.run(
        [sys.executable, "-c", ASK, gateway.grpc, rows, answers], capture_output=True, text=True, check=False
    )
    assert asked.returncode == 0, asked.stderr
    return json.loads(asked.stdout)


def test_it_finds_the_server_and_the_model_live_and_ready(told: Any) -> None:
    assert told["live"] is told["ready"] is told["model ready"] is True
    assert told["other ready"] is False


def test_it_reads_the_servers_and_the_models_metadata(told: Any) -> None:
    assert told["server"]["name"] == "seqserve"
    assert told["model"] == {
        "name": "digit_mlp",
        "versions": ["1"],
        "platform": "pytorch_torchscript",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": ["-1", "784"]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": ["-1", "10"]}],
    }


def test_its_answers_agree_with_the_eager_model(told: Any, archive: Archive, answers: Path) -> None:
    np.testing.assert_allclose(np.load(answers), archive.golden_outputs, rtol=1e-5, atol=1e-5)


def test_it_raises_our_refusal_in_our_words(told: Any) -> None:
    assert told["refusal"] == ["StatusCode.NOT_FOUND", "model 'nobody' is not in the repository"]
