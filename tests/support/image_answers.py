"""What a container's gateway is asked over gRPC and REST, beside what the module answers in Python."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np

from support.agreement import assert_agree, eager, held_out, over_grpc
from support.archives import FloatArray
from support.containers import Container
from support.oip import rows_of

MODEL = "digit_mlp"
TIMEOUT_SECONDS = 60


def check_answers(container: Container, store: Path) -> None:
    """All held-out digits over gRPC and over REST, against the module with the store's checkpoint."""
    expected = eager(store, MODEL)
    assert_agree(rows_of(over_grpc(container, MODEL, held_out(MODEL))), expected)
    assert_agree(over_rest(container), expected)


def over_rest(container: Container) -> FloatArray:
    """The held-out digits as JSON, [n, 10]."""
    pixels = held_out(MODEL)
    tensor = {"name": "image", "datatype": "UINT8", "shape": pixels.shape, "data": pixels.ravel().tolist()}
    reply = httpx.post(
        f"{container.http}/v2/models/{MODEL}/infer", json={"inputs": [tensor]}, timeout=TIMEOUT_SECONDS
    )
    assert reply.status_code == httpx.codes.OK, reply.text
    output = reply.json()["outputs"][0]
    return np.array(output["data"], np.float32).reshape(output["shape"])
