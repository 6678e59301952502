"""Numbers that claim more than there is: refused, and nothing of the claimed size is allocated.

The peers' class: allocation or overflow driven by shapes, lengths and counts that a caller wrote
(Triton's CVE-2025-23319 and its neighbours among them). What each refusal says is tested in
test_refusals.py and unit/test_rest_refusals.py; here it is what it costs.
"""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from seqserve.gateway import Gateway
from seqserve.pb import inference_pb2 as pb
from seqserve.pb.v1 import prediction_pb2
from support.memory import MIB, python_peak
from support.oip import infer_request, inference_stub, prediction_stub
from support.rest import HEADER, INFER, binary, infer_document

GOOD = np.full((1, 2, 3), 0.25, np.float32)
LARGEST = 2**63 - 1
SHAPES = [
    [2**31, 6],
    [2**31, 784],
    [2**31 - 1, 2, 3],
    [2**32, 2**32],
    [LARGEST, 6],
    [LARGEST, LARGEST, LARGEST],
    [2**62, 2, 3],
    [-1, 6],
    [-(2**63), 6],
    [0, 6],
    [1, 0],
    [],
    [1] * 10_000,
]
"""With the bytes of one example of `tiny` behind each."""


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}", timeout=30) as client:
        await client.post(INFER, json=infer_document())  # what a first call sets up is not counted
        yield client


def shown(shape: list[int]) -> str:
    return str(shape)[:30]


async def refused_cheaply(call: Any) -> None:
    """The call's refusal as an INVALID_ARGUMENT that took next to no memory."""
    with python_peak() as peak, pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call

    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert peak.bytes < MIB


@pytest.mark.parametrize("shape", SHAPES, ids=shown)
@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
async def test_no_shape_takes_memory_over_grpc(
    channel: grpc.aio.Channel, datatype: str, shape: list[int]
) -> None:
    request = infer_request(GOOD)
    request.inputs[0].shape[:] = shape
    request.inputs[0].datatype = datatype
    tensor = prediction_pb2.Tensor(datatype=datatype, shape=shape, content=GOOD.tobytes())

    await refused_cheaply(inference_stub(channel).ModelInfer(request))
    await refused_cheaply(
        prediction_stub(channel).Predict(prediction_pb2.PredictRequest(model="tiny", tensor=tensor))
    )


@pytest.mark.parametrize("shape", SHAPES, ids=shown)
async def test_no_shape_takes_memory_over_http(http: httpx.AsyncClient, shape: list[int]) -> None:
    in_json, in_bytes = infer_document(), infer_document()
    in_json["inputs"][0]["shape"] = in_bytes["inputs"][0]["shape"] = shape
    body, headers = binary(in_bytes, GOOD.tobytes())
    with python_peak() as peak:
        replies = [
            await http.post(INFER, json=in_json),
            await http.post(INFER, content=body, headers=headers),
        ]

    assert [reply.status_code for reply in replies] == [400, 400]
    assert peak.bytes < MIB


@pytest.mark.parametrize("length", [2**32 - 1, 2**31, 2**31 - 1, 100, 5])
async def test_no_length_of_an_element_takes_memory(
    channel: grpc.aio.Channel, http: httpx.AsyncClient, length: int
) -> None:
    """BYTES elements whose lengths claim up to 4 GiB."""
    content = struct.pack("<I", length) + b"\x89PNG"
    request = pb.ModelInferRequest(model_name="tiny", raw_input_contents=[content])
    request.inputs.add(name="image", datatype="BYTES", shape=[1])
    document = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1]}]}
    body, headers = binary(document, content)

    await refused_cheaply(inference_stub(channel).ModelInfer(request))
    with python_peak() as peak:
        reply = await http.post(INFER, content=body, headers=headers)

    assert (reply.status_code, reply.json()["reason"]) == (400, "BYTES_LENGTH")
    assert peak.bytes < MIB


@pytest.mark.parametrize("size", [2**31, 2**32, 2**63, 10**4000, -1, 1e18, "24", None])
async def test_no_size_of_what_lies_behind_the_json_takes_memory(http: httpx.AsyncClient, size: Any) -> None:
    """`binary_data_size` that lies."""
    document = infer_document()
    del document["inputs"][0]["data"]
    document["inputs"][0]["parameters"] = {"binary_data_size": size}
    text = json.dumps(document).encode()
    with python_peak() as peak:
        reply = await http.post(INFER, content=text + GOOD.tobytes(), headers={HEADER: str(len(text))})

    assert (reply.status_code, reply.json()["reason"]) == (400, "BINARY_SIZE")
    assert peak.bytes < MIB


@pytest.mark.parametrize(
    "length", ["4294967295", "99999999999999999999", "9" * 5000, "-1", "1e3", "0x10", "65537"]
)
async def test_no_length_of_the_json_takes_memory(http: httpx.AsyncClient, length: str) -> None:
    """`Inference-Header-Content-Length` that lies."""
    with python_peak() as peak:
        reply = await http.post(INFER, json=infer_document(), headers={HEADER: length})

    assert (reply.status_code, reply.json()["reason"]) == (400, "HEADER_LENGTH")
    assert peak.bytes < MIB


@pytest.mark.parametrize("count", [2**31, LARGEST])
async def test_no_number_of_classes_takes_memory(
    channel: grpc.aio.Channel, http: httpx.AsyncClient, count: int
) -> None:
    """The classification extension's k: there are as many as the model has."""
    request = infer_request(GOOD)
    request.outputs.add(name="probabilities").parameters["classification"].int64_param = count
    outputs = [{"name": "probabilities", "parameters": {"classification": count}}]
    predict = prediction_pb2.PredictRequest(model="tiny", top_k=2**32 - 1)
    predict.tensor.datatype, predict.tensor.content = "FP32", GOOD.tobytes()
    predict.tensor.shape[:] = GOOD.shape
    with python_peak() as peak:
        reply = await inference_stub(channel).ModelInfer(request)
        over_http = (await http.post(INFER, json=infer_document(outputs=outputs))).json()
        own = await prediction_stub(channel).Predict(predict)

    assert list(reply.outputs[0].shape) == over_http["outputs"][0]["shape"] == [1, 2]
    assert len(own.predictions[0].top) == 2
    assert peak.bytes < MIB


NUMBERS = {
    "1e999": "NOT_FINITE",
    "-1e999": "NOT_FINITE",
    "9" * 5000: "MALFORMED_JSON",
    "9" * 4000: "OUT_OF_RANGE",
    "1e-999999999999": "",
    "0." + "1" * 500_000: "",
    "1" + "0" * 500_000 + "e-500000": "",
    "1e" + "9" * 100_000: "NOT_FINITE",
    "NaN": "JSON_NOT_FINITE",
    "[" * 100_000: "JSON_TOO_DEEP",
}
"""JSON numbers, and the reason of their refusal; "" where they are as good as any."""


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: f"{number[:12]} of {len(number)}")
async def test_no_number_of_a_json_body_costs_more_than_its_text(
    http: httpx.AsyncClient, number: str
) -> None:
    text = json.dumps(infer_document()).replace("0.25", number)
    with python_peak() as peak:
        reply = await http.post(INFER, content=text)

    assert reply.json().get("reason", "") == NUMBERS[number]
    assert len(reply.content) < 1000
    assert peak.bytes < MIB + 8 * len(text)
