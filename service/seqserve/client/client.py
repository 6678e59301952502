"""A synchronous client of `seqserve.v1.PredictionService`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
import numpy.typing as npt

from seqserve.pb.v1 import prediction_pb2 as pb
from seqserve.pb.v1 import prediction_pb2_grpc

DATATYPES = {
    "float32": "FP32",
    "float16": "FP16",
    "uint8": "UINT8",
    "int8": "INT8",
    "int16": "INT16",
    "uint16": "UINT16",
}
MAX_MESSAGE_BYTES = 64 * 2**20


class PredictionError(Exception):
    """The gateway refused or could not be reached; `code` is gRPC's name for it.

    is_unreachable: nobody answered; a gateway that refuses gives its call an id.
    """

    def __init__(self, code: str, message: str, *, is_unreachable: bool = False) -> None:
        self.code = code
        self.is_unreachable = is_unreachable
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Answer:
    """One example's best label; `values` is the whole output [classes] FP32. label is "" for regression."""

    label: str
    probability: float
    values: npt.NDArray[np.float32]
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """All answers to one request, and the receipt (see prediction.proto)."""

    model: str
    version: str
    answers: tuple[Answer, ...]
    receipt: pb.Receipt


@dataclass(frozen=True, slots=True)
class Model:
    """One version in the gateway's repository; state is `ready`, `loading` or `failed`."""

    name: str
    version: str
    state: str
    reason: str
    task: str
    example_shapes: tuple[str, ...]
    labels: tuple[str, ...]
    archive_sha256: str


class Client:
    """Asks one gateway. Use it as a context manager, or call `close`."""

    def __init__(self, address: str, *, timeout_seconds: float = 10.0) -> None:
        limits = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ]
        self._channel = grpc.insecure_channel(address, options=limits)
        self._stub = prediction_pb2_grpc.PredictionServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated
        self._timeout_seconds = timeout_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def predict(
        self, examples: npt.NDArray[Any] | Sequence[bytes], *, model: str, version: str = "", top_k: int = 0
    ) -> Reply:
        """Answers for an array of one example or a batch, or for PNG and JPEG files.

        Raises PredictionError; TypeError for an array whose dtype the protocol does not carry.
        """
        request = pb.PredictRequest(model=model, version=version, top_k=top_k)
        if isinstance(examples, np.ndarray):
            request.tensor.CopyFrom(_tensor(examples))
        else:
            request.images.encoded.extend(examples)
        reply = self._call(self._stub.Predict, request)
        answers = tuple(_answer(prediction) for prediction in reply.predictions)
        return Reply(reply.model, reply.version, answers, reply.receipt)

    def models(self) -> list[Model]:
        """What the gateway has. Raises PredictionError."""
        reply = self._call(self._stub.ListModels, pb.ListModelsRequest())
        return [_model(model) for model in reply.models]

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout_seconds)
        except grpc.RpcError as error:
            is_unreachable = error.code() is grpc.StatusCode.UNAVAILABLE and not error.trailing_metadata()
            raise PredictionError(
                error.code().name, error.details() or "", is_unreachable=is_unreachable
            ) from error


def _tensor(array: npt.NDArray[Any]) -> pb.Tensor:
    datatype = DATATYPES.get(array.dtype.name)
    if datatype is None:
        raise TypeError(f"dtype {array.dtype.name}; accepted: {', '.join(DATATYPES)}")
    little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return pb.Tensor(datatype=datatype, shape=array.shape, content=little_endian.tobytes())


def _answer(prediction: pb.Prediction) -> Answer:
    top = tuple((scored.label, scored.probability) for scored in prediction.top)
    label, probability = top[0] if top else ("", float("nan"))
    return Answer(label, probability, np.asarray(prediction.values, np.float32), top)


def _model(model: pb.Model) -> Model:
    return Model(
        name=model.name,
        version=model.version,
        state=pb.ModelState.Name(model.state).removeprefix("MODEL_STATE_").lower(),
        reason=model.reason,
        task=model.task,
        example_shapes=tuple(model.example_shapes),
        labels=tuple(model.labels),
        archive_sha256=model.archive_sha256,
    )
