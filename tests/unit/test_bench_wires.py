"""Every protocol of the benchmark carries the same rows, and reads them back from a reply."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bench.load import WrongAnswer
from bench.messages import Rows
from bench.wires import OIP_JSON, TORCHSERVE, Wire, http_raw, instances
from seqserve.pb import torchserve_pb2

ROWS = Rows(
    "digit_mlp",
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.array([[0.25, 0.75], [0.5, 0.5]], np.float32),
    "pixels",
)
RAW_REPLY = ROWS.outputs.astype("<f4").tobytes()
REPLIES: list[tuple[Wire, bytes]] = [
    (http_raw("/inference"), RAW_REPLY),
    (instances("/predictions/{model}"), json.dumps(ROWS.outputs.tolist()).encode()),
    (OIP_JSON, json.dumps({"outputs": [{"data": ROWS.outputs.ravel().tolist()}]}).encode()),
    (TORCHSERVE, torchserve_pb2.PredictionResponse(prediction=RAW_REPLY).SerializeToString()),
]


@pytest.mark.parametrize(("wire", "reply"), REPLIES)
def test_a_right_reply_is_read(wire: Wire, reply: bytes) -> None:
    ROWS.check(wire.read(reply, ROWS))


@pytest.mark.parametrize("wire", [wire for wire, _ in REPLIES])
@pytest.mark.parametrize("reply", [b"\xff\xff\xff", b"{}", b"[[0.25, 0.75]]"])
def test_anything_else_is_a_wrong_answer(wire: Wire, reply: bytes) -> None:
    with pytest.raises(WrongAnswer):
        ROWS.check(wire.read(reply, ROWS))


def test_numbers_are_named_as_the_model_names_them() -> None:
    [tensor] = json.loads(OIP_JSON.body(ROWS))["inputs"]

    assert tensor == {"name": "pixels", "datatype": "FP32", "shape": [2, 3], "data": [0, 1, 2, 3, 4, 5]}


def test_torchserve_is_asked_for_the_model_with_bytes() -> None:
    request = torchserve_pb2.PredictionsRequest.FromString(TORCHSERVE.body(ROWS))

    assert (request.model_name, request.input["data"]) == ("digit_mlp", ROWS.inputs.tobytes())


def test_the_path_names_the_model() -> None:
    options = instances("/predictions/{model}_single").options(ROWS)

    assert options == {"path": "/predictions/digit_mlp_single", "content-type": "application/json"}
