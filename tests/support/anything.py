"""Calls that clients might make, good ones and bad ones, at random and each time the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from seqserve.pb import inference_pb2 as pb
from seqserve.pb.v1 import prediction_pb2 as ours

OIP = "/inference.GRPCInferenceService"
OURS = "/seqserve.v1.PredictionService"
INFER = f"{OIP}/ModelInfer"
STREAM = f"{OIP}/ModelStreamInfer"

SHAPES = ((1, 2, 3), (2, 2, 3), (2, 3), (1, 6), (3, 6), (6,), (7, 2, 3))
WRONG_SHAPES = ((), (0, 6), (-1, 6), (5,), (1, 7), (1, 3, 2), (2**62, 2, 3), (1,) * 9, (9, 6), (2000, 6))
NAMES = ("tiny", "tiny", "tiny", "tiny", "other", "", "Tiny", "ti\u00f1y")
VERSIONS = ("", "", "", "1", "2", "stable", "3", "x", "01")
DATATYPES = ("FP32",) * 6 + ("FP16", "UINT8", "INT8", "INT64", "BYTES", "BF16", "", "fp32")
NUMBERS = (0.0, 1.0, 0.25, 0.5, -0.0)
WRONG_NUMBERS = (-0.1, 1.5, float("nan"), float("inf"), 255.0)
IDS = ("", "", "abc", "a b", "x" * 65, "\u00fc")
PARAMETERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("timeout", {"int64_param": 60_000_000}), ("timeout", {"int64_param": 0}), ("timeout", {"int64_param": -1}),
    ("timeout", {"string_param": "1"}), ("priority", {"int64_param": 1}), ("sequence_id", {"int64_param": 7}),
    ("no_such", {"bool_param": True}), ("empty", {}), ("binary_data", {"bool_param": True}),
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A unary call, or a message of a stream."""

    path: str
    body: bytes
    request_id: str


class Anything:
    """What a seed makes of it. wrong: how much of what might be wrong is, 0 to 1."""

    def __init__(self, seed: int, wrong: float = 0.12) -> None:
        self._random = Random(seed)  # noqa: S311 - it is to be the same each time
        self._wrong = wrong
        self._made = 0

    def unary(self) -> Asked:
        """Most ask for inference; some bytes are no message of their method, and some paths nobody's."""
        path, make = self._random.choice(self._methods())
        return self._asked(path, make())

    def message(self) -> Asked:
        """A message of ModelStreamInfer."""
        return self._asked(STREAM, self._infer())

    def _asked(self, path: str, message: Message) -> Asked:
        self._made += 1
        return Asked(path, self._maybe_mangled(message.SerializeToString()), f"call-{self._made}")

    def _methods(self) -> list[tuple[str, Callable[[], Message]]]:
        name = self._random.choice(NAMES)
        version = self._random.choice(VERSIONS)
        rare: list[tuple[str, Callable[[], Message]]] = [
            (f"{OIP}/ServerLive", pb.ServerLiveRequest),
            (f"{OIP}/ServerReady", pb.ServerReadyRequest),
            (f"{OIP}/ServerMetadata", pb.ServerMetadataRequest),
            (f"{OIP}/ModelReady", lambda: pb.ModelReadyRequest(name=name, version=version)),
            (f"{OIP}/ModelMetadata", lambda: pb.ModelMetadataRequest(name=name, version=version)),
            (f"{OIP}/ModelConfig", lambda: pb.ModelConfigRequest(name=name, version=version)),
            (f"{OIP}/NoSuchMethod", pb.ServerLiveRequest),
            (f"{OIP}/RepositoryIndex", pb.RepositoryIndexRequest),
            (f"{OURS}/Predict", self._predict),
            (f"{OURS}/ListModels", ours.ListModelsRequest),
            ("/no.Service/Method", pb.ServerLiveRequest),
            ("/grpc.health.v1.Health/Check", lambda: health_pb2.HealthCheckRequest(service=name)),
        ]
        return [(INFER, self._infer)] * 3 * len(rare) + rare

    def _infer(self) -> pb.ModelInferRequest:
        shape, datatype = self._either(SHAPES, WRONG_SHAPES), self._maybe("FP32", DATATYPES)
        request = pb.ModelInferRequest(
            model_name=self._maybe("tiny", NAMES), model_version=self._random.choice(VERSIONS[:6])
            if not self._is_wrong() else self._random.choice(VERSIONS), id=self._random.choice(IDS),
        )  # fmt: skip
        tensor = request.inputs.add(
            name=self._maybe("image", ("Image", "", "x")), datatype=datatype, shape=shape
        )
        content = self._content(shape)
        if self._random.random() < 0.75:
            request.raw_input_contents.append(content)
        else:
            tensor.contents.fp32_contents.extend(np.frombuffer(content[: len(content) & ~3], "<f4"))
        self._spoil(request)
        return request

    def _spoil(self, request: pb.ModelInferRequest) -> None:
        """Things that are there more often than not in no request, or once."""
        if self._random.random() < 0.2:
            request.outputs.add(name=self._maybe("probabilities", ("", "image")))
            if self._random.random() < 0.3:
                request.outputs[0].parameters["classification"].int64_param = self._random.choice(
                    (1, 2, 9, 0)
                )
        if self._is_wrong():
            name, value = self._random.choice(PARAMETERS)
            request.parameters[name].CopyFrom(pb.InferParameter(**value))
        if self._is_wrong() and self._is_wrong():
            request.raw_input_contents.append(b"1234")
        if self._is_wrong() and self._is_wrong():
            del request.inputs[:]
        if self._is_wrong() and self._is_wrong():
            request.inputs.add(name="image", datatype="FP32", shape=[1, 6])

    def _predict(self) -> ours.PredictRequest:
        shape = self._either(SHAPES, WRONG_SHAPES)
        tensor = ours.Tensor(
            datatype=self._maybe("FP32", DATATYPES), shape=shape, content=self._content(shape)
        )
        return ours.PredictRequest(model=self._maybe("tiny", NAMES), tensor=tensor)

    def _content(self, shape: tuple[int, ...]) -> bytes:
        """FP32 for the shape, where that is a size at all."""
        size = int(np.prod(shape, dtype=object)) if shape else 1
        size = size if 0 <= size <= 20_000 else 6
        numbers = [self._random.choice(NUMBERS) for _ in range(min(size, 12))] or [0.5]
        content = np.resize(np.asarray(numbers, "<f4"), size)
        if size and self._is_wrong():
            content[self._random.randrange(size)] = self._random.choice(WRONG_NUMBERS)
        wire = content.tobytes()
        return wire if not self._is_wrong() else wire[: self._random.randrange(len(wire) + 1)]

    def _maybe_mangled(self, body: bytes) -> bytes:
        if not body or self._random.random() > self._wrong / 2:
            return body
        at = self._random.randrange(len(body))
        if self._random.random() < 0.5:
            return body[:at]
        return body[:at] + bytes([self._random.randrange(256)]) + body[at + 1 :]

    def _is_wrong(self) -> bool:
        return self._random.random() < self._wrong

    def _maybe(self, right: str, others: tuple[str, ...]) -> str:
        return self._random.choice(others) if self._is_wrong() else right

    def _either(self, right: tuple[Any, ...], wrong: tuple[Any, ...]) -> Any:
        return self._random.choice(wrong if self._is_wrong() else right)
