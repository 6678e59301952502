"""Held-out examples of the zoo, what their modules answer in Python, and what served copies of them answer."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import grpc
import httpx
import numpy as np
import numpy.typing as npt
import torch

from seqserve.pb import inference_pb2 as pb
from seqserve.signature import CPU_TOLERANCE
from seqserve_models.dataset import DataOptions, to_values
from seqserve_models.zoo import MODELS
from support.archives import FloatArray
from support.oip import inference_stub, rows_of
from support.served import Served

Examples = npt.NDArray[Any]

DATATYPES = {"uint8": "UINT8", "float32": "FP32"}
TIMEOUT_SECONDS = 60


@cache
def held_out(name: str) -> Examples:
    """All that its data set holds out, as it holds them: digits UINT8 [359, 28, 28], x FP32 [50, 1]."""
    definition = MODELS[name]
    return definition.recipes[definition.default_dataset].load(DataOptions()).test_inputs


@cache
def eager(store: Path, name: str) -> FloatArray:
    """What the definition's module gives for them with version 1's checkpoint, [n, *output]; no TorchScript."""
    definition = MODELS[name]
    module = definition.build().eval()
    module.load_state_dict(torch.load(store / f"{name}-1.checkpoint.pt", weights_only=True)["state_dict"])
    inputs = torch.from_numpy(to_values(held_out(name))).reshape(-1, *definition.input_shape)
    with torch.inference_mode():
        outputs: FloatArray = module(inputs).numpy()
    return outputs


class Asked(Protocol):
    """What answers gRPC."""

    @property
    def grpc(self) -> str:
        """HOST:PORT."""
        ...


def over_grpc(gateway: Asked, name: str, examples: Examples, *, version: str = "1") -> pb.ModelInferResponse:
    """One request with all examples as they are."""
    request = _request(name, examples, version)
    with grpc.insecure_channel(gateway.grpc) as channel:
        reply: pb.ModelInferResponse = inference_stub(channel).ModelInfer(request, timeout=TIMEOUT_SECONDS)
    return reply


def over_grpc_alone(gateway: Served, name: str, examples: Examples) -> FloatArray:
    """A request for each example, all at once: the gateway makes batches of them."""
    with grpc.insecure_channel(gateway.grpc) as channel:
        infer = inference_stub(channel).ModelInfer
        requests = [_request(name, examples[at : at + 1], "1") for at in range(len(examples))]
        replies = [infer.future(request, timeout=TIMEOUT_SECONDS) for request in requests]
        return np.concatenate([rows_of(reply.result()) for reply in replies])


def post(gateway: Served, name: str, content: str | bytes, **headers: str) -> httpx.Response:
    """POST to a model in the gateway's TorchServe. name: NAME, or NAME/VERSION."""
    authorization = {"Authorization": f"Bearer {gateway.torchserve_token}"}
    return httpx.post(
        f"{gateway.torchserve}/predictions/{name}",
        content=content,
        headers=authorization | {"Content-Type": "application/json"} | headers,
        timeout=TIMEOUT_SECONDS,
    )


def over_json(gateway: Served, name: str, examples: Examples) -> FloatArray:
    """Numbers from 0 to 1 as JSON, in one request to TorchServe."""
    instances = to_values(examples).tolist()
    return _outputs(post(gateway, f"{name}/1", json.dumps({"instances": instances})))


def over_bytes(gateway: Served, name: str, examples: Examples) -> FloatArray:
    """The examples as they are, in one request to TorchServe."""
    headers = {
        "Content-Type": "application/octet-stream",
        "X-Tensor-Shape": ",".join(map(str, examples.shape)),
        "X-Tensor-Datatype": DATATYPES[str(examples.dtype)],
    }
    return _outputs(post(gateway, f"{name}/1", examples.tobytes(), **headers))


def assert_agree(answers: FloatArray, expected: FloatArray) -> None:
    """Within the bound everywhere, and the same best class wherever the two best differ by more than that."""
    assert answers.shape == expected.shape
    bound = CPU_TOLERANCE.absolute + CPU_TOLERANCE.relative * np.abs(expected)
    assert (np.abs(answers - expected) <= bound).all(), np.abs(answers - expected).max()
    ordered = np.sort(expected, axis=1)  # [n, classes]; a value alone has no second
    is_clear = ordered[:, -1] - ordered[:, -2:].min(axis=1) > bound.max(axis=1)
    np.testing.assert_array_equal(answers.argmax(axis=1)[is_clear], expected.argmax(axis=1)[is_clear])


def _request(name: str, examples: Examples, version: str) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=name, model_version=version)
    datatype = DATATYPES[str(examples.dtype)]
    request.inputs.add(name=MODELS[name].input_name, datatype=datatype, shape=examples.shape)
    request.raw_input_contents.append(examples.tobytes())
    return request


def _outputs(response: httpx.Response) -> FloatArray:
    assert response.status_code == 200, response.text
    rows = response.json()["predictions"]
    return np.array([row["probabilities"] if isinstance(row, dict) else row for row in rows], np.float32)
