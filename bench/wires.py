"""How each protocol carries rows: what the load generator sends, and how a reply is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from google.protobuf.message import DecodeError

from bench.load import WrongAnswer
from bench.messages import (
    MODEL_INFER,
    MODEL_STREAM_INFER,
    Rows,
    infer_request,
    read_reply,
    read_stream_reply,
)
from seqserve.engines.base import FloatArray
from seqserve.pb import torchserve_pb2

Form = Literal["raw", "stream", "json"]
"""Of a request: bytes in one call, bytes in messages of a stream, numbers as text."""

OCTETS = "application/octet-stream"
JSON = "application/json"
PREDICTIONS = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"


@dataclass(frozen=True, slots=True)
class Wire:
    """address: of a call, `/package.Service/Method` of gRPC, or with a content_type a path of HTTP.

    {model} in the address is the model's name. body: of rows. read: rows [n, *output] of a reply to rows;
    raises WrongAnswer.
    """

    address: str
    body: Callable[[Rows], bytes]
    read: Callable[[bytes, Rows], FloatArray]
    content_type: str = ""

    def options(self, rows: Rows) -> dict[str, str]:
        """What the generator is told."""
        address = self.address.format(model=rows.model)
        if not self.content_type:
            return {"method": address}
        return {"path": address, "content-type": self.content_type}


@dataclass(frozen=True, slots=True)
class Door:
    """Where and how one form of a request is taken. address: HOST:PORT."""

    address: str
    wire: Wire


def http_raw(path: str) -> Wire:
    """Rows as little-endian bytes, and nothing around them."""
    return Wire(path, _bytes_of, _flat, OCTETS)


def instances(path: str) -> Wire:
    """Rows as nested lists of JSON; lists come back."""
    return Wire(path, _instances_of, _lists, JSON)


def oip_doors(grpc_address: str, http_address: str = "") -> Mapping[Form, Door]:
    """Of a server that speaks the Open Inference Protocol."""
    doors: dict[Form, Door] = {"raw": Door(grpc_address, OIP), "stream": Door(grpc_address, OIP_STREAM)}
    return doors | ({"json": Door(http_address, OIP_JSON)} if http_address else {})


def _bytes_of(rows: Rows) -> bytes:
    return rows.inputs.astype("<f4").tobytes()


def _flat(reply: bytes, rows: Rows) -> FloatArray:
    try:
        return np.frombuffer(reply, "<f4").reshape(-1, *rows.outputs.shape[1:])
    except ValueError as error:
        raise WrongAnswer(f"no rows in a reply of {len(reply)} bytes: {error}") from error


def _instances_of(rows: Rows) -> bytes:
    return json.dumps({"instances": rows.inputs.tolist()}).encode()


def _lists(reply: bytes, rows: Rows) -> FloatArray:
    del rows
    return _array(reply, lambda answer: answer)


def _tensor_of(rows: Rows) -> bytes:
    tensor = {
        "name": rows.input_name,
        "datatype": "FP32",
        "shape": rows.inputs.shape,
        "data": rows.inputs.ravel().tolist(),
    }
    return json.dumps({"inputs": [tensor]}).encode()


def _tensor(reply: bytes, rows: Rows) -> FloatArray:
    return _array(reply, lambda answer: answer["outputs"][0]["data"]).reshape(rows.outputs.shape)


def _array(reply: bytes, find: Callable[[Any], Any]) -> FloatArray:
    try:
        return np.asarray(find(json.loads(reply)), np.float32)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise WrongAnswer(f"no rows in {reply[:200]!r}") from error


def _prediction_of(rows: Rows) -> bytes:
    request = torchserve_pb2.PredictionsRequest(model_name=rows.model, input={"data": _bytes_of(rows)})
    return request.SerializeToString()


def _prediction(reply: bytes, rows: Rows) -> FloatArray:
    try:
        return _flat(torchserve_pb2.PredictionResponse.FromString(reply).prediction, rows)
    except DecodeError as error:
        raise WrongAnswer(f"no prediction in a reply of {len(reply)} bytes") from error


OIP = Wire(MODEL_INFER, infer_request, lambda reply, _: read_reply(reply))
OIP_STREAM = Wire(MODEL_STREAM_INFER, infer_request, lambda reply, _: read_stream_reply(reply))
OIP_JSON = Wire("/v2/models/{model}/infer", _tensor_of, _tensor, JSON)
TORCHSERVE = Wire(PREDICTIONS, _prediction_of, _prediction)
