"""Lists and names without end in one request: refused in a few words, and quickly enough for the others.

The peers' class: huge or repeated output lists and parameters that a server walks or allocates for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from seqserve.errors import ModelNotFound
from seqserve.gateway import Gateway
from seqserve.pb import inference_pb2 as pb
from support.memory import MIB, process_peak, python_peak
from support.oip import details_of, infer_request, inference_stub, rows_of, send_bytes, words_of
from support.rest import INFER, infer_document

MANY = 100_000
LONG = "n" * (2 * MIB)
FEW_WORDS = 600
GOOD = np.full((1, 2, 3), 0.25, np.float32)
OUTPUT = pb.ModelInferRequest.InferRequestedOutputTensor


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}", timeout=60) as client:
        yield client


def other_outputs(request: pb.ModelInferRequest) -> None:
    request.outputs.extend(OUTPUT(name=f"output-{index}") for index in range(MANY))


def repeated_outputs(request: pb.ModelInferRequest) -> None:
    request.outputs.extend(OUTPUT(name="probabilities") for _ in range(MANY))


def inputs(request: pb.ModelInferRequest) -> None:
    request.inputs.extend(request.inputs[0] for _ in range(MANY))


def contents(request: pb.ModelInferRequest) -> None:
    request.raw_input_contents.extend([b""] * MANY)


def parameters(request: pb.ModelInferRequest) -> None:
    for index in range(MANY):
        request.parameters[f"parameter-{index}"].int64_param = index


def elements(request: pb.ModelInferRequest) -> None:
    del request.raw_input_contents[:]
    request.inputs[0].datatype = "BYTES"
    request.inputs[0].shape[:] = [MANY]
    request.inputs[0].contents.bytes_contents.extend([b""] * MANY)


def a_long_name(request: pb.ModelInferRequest) -> None:
    request.model_name = LONG


def a_long_version(request: pb.ModelInferRequest) -> None:
    request.model_version = LONG


def a_long_input_name(request: pb.ModelInferRequest) -> None:
    request.inputs[0].name = LONG


def a_long_output_name(request: pb.ModelInferRequest) -> None:
    request.outputs.add(name=LONG)


def a_long_datatype(request: pb.ModelInferRequest) -> None:
    request.inputs[0].datatype = LONG


def a_long_parameter(request: pb.ModelInferRequest) -> None:
    request.parameters[f"sequence_{LONG}"].bool_param = True


CHANGES = [
    other_outputs, repeated_outputs, inputs, contents, parameters, elements, a_long_name, a_long_version, a_long_input_name,
    a_long_output_name, a_long_datatype, a_long_parameter,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_over_grpc_they_are_refused_in_a_few_words(
    channel: grpc.aio.Channel, change: Callable[[pb.ModelInferRequest], None]
) -> None:
    stub, request = inference_stub(channel), infer_request(GOOD)
    change(request)
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.ModelInfer(request)

    assert refusal.value.code() in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
    assert len(words_of(refusal.value)) < FEW_WORDS
    assert len(rows_of(await stub.ModelInfer(infer_request(GOOD)))) == 1


DOCUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "other outputs": lambda: infer_document(outputs=[{"name": f"output-{index}"} for index in range(MANY)]),
    "repeated outputs": lambda: infer_document(outputs=[{"name": "probabilities"}] * MANY),
    "inputs": lambda: {"inputs": infer_document()["inputs"] * MANY},
    "a long input name": lambda: infer_document(name=LONG),
    "a long output name": lambda: infer_document(outputs=[{"name": LONG}]),
    "a long parameter": lambda: infer_document(parameters={f"sequence_{LONG}": 1}),
    "a long datatype": lambda: {"inputs": [infer_document()["inputs"][0] | {"datatype": LONG}]},
}


@pytest.mark.parametrize("made", DOCUMENTS)
async def test_over_http_they_are_refused_in_a_few_words(http: httpx.AsyncClient, made: str) -> None:
    reply = await http.post(INFER, json=DOCUMENTS[made]())

    assert reply.status_code == 400
    assert len(reply.content) < 2 * FEW_WORDS
    assert (await http.post(INFER, json=infer_document())).status_code == 200


async def test_in_json_parameters_are_ignored_however_many(http: httpx.AsyncClient) -> None:
    parameters = {f"parameter-{index}": index for index in range(MANY)}
    reply = await http.post(INFER, json=infer_document(parameters=parameters))

    assert reply.status_code == 200
    assert len(reply.json()["parameters"]) < 10


def wrapped(content: bytes, *numbers: int) -> bytes:
    """The content of a submessage, in fields of these numbers, the innermost first."""
    for number in numbers:
        length, head = len(content), bytes([number << 3 | 2])
        while length >= 2**7:
            head += bytes([length % 2**7 + 2**7])
            length >>= 7
        content = head + bytes([length]) + content
    return content


OPEN_PROTOCOL = "/inference.GRPCInferenceService/ModelInfer"
OWN = "/seqserve.v1.PredictionService/Predict"
EMPTY = {
    "parameters": (OPEN_PROTOCOL, b"\x22\0", ()),
    "inputs": (OPEN_PROTOCOL, b"\x2a\0", ()),
    "outputs": (OPEN_PROTOCOL, b"\x32\0", ()),
    "contents": (OPEN_PROTOCOL, b"\x3a\0", ()),
    "parameters of an input": (OPEN_PROTOCOL, b"\x22\0", (5,)),
    "parameters of an output": (OPEN_PROTOCOL, b"\x12\0", (6,)),
    "elements of an input": (OPEN_PROTOCOL, b"\x42\0", (5, 5)),
    "pictures": (OWN, b"\x0a\0", (3,)),
}
"""Methods, empty fields of their messages, and the numbers of the fields that those are wrapped in."""


@pytest.mark.parametrize("where", EMPTY)
async def test_a_whole_message_of_empty_fields_takes_little_memory_and_time(
    channel: grpc.aio.Channel, where: str
) -> None:
    """2 bytes on the wire are up to 30 once parsed, and walking 8 million of them would take minutes."""
    method, field, numbers = EMPTY[where]
    body = wrapped(field * (7 * MIB), *numbers)
    with process_peak() as peak, pytest.raises(grpc.aio.AioRpcError) as refusal:
        await send_bytes(channel, method, body)

    assert details_of(refusal.value)["ErrorInfo"].reason == "TOO_MANY_FIELDS"
    assert peak.bytes < 8 * len(body)


def test_no_refusal_copies_a_long_name_over_and_over() -> None:
    with python_peak() as peak:
        said = str(ModelNotFound(LONG))

    assert len(said) < FEW_WORDS
    assert peak.bytes < MIB
