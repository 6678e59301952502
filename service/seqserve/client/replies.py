"""What comes back: messages of `seqserve.v1` as values with numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqserve.client.errors import PredictionError, error_of_status
from seqserve.pb.v1 import prediction_pb2 as pb


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
class StreamReply:
    """What became of one item of a stream: either `reply` or `error` is there.

    index: the item's place in what the caller gave, from 0.
    """

    index: int
    reply: Reply | None = None
    error: PredictionError | None = None

    def result(self) -> Reply:
        """The reply. Raises the error, a PredictionError, where there is none."""
        if self.reply is None:
            raise self.error or ValueError("neither a reply nor an error")
        return self.reply


@dataclass(frozen=True, slots=True)
class Model:
    """One version in the gateway's repository.

    state: `loading`, `ready`, `stalled`, `unloading`, `unloaded` or `failed`; reason: why it does not serve.
    example_shapes: of one example, as "28,28". input_shape, output_shape: of one example, the model's own.
    labels: of the classes. minimum, maximum: of the input's values, None where they have no range.
    resize, invert: what is done to PNG and JPEG files; without resize they must be of the model's size.
    """

    name: str
    version: str
    state: str
    reason: str
    task: str
    example_shapes: tuple[str, ...]
    labels: tuple[str, ...]
    archive_sha256: str
    input: str
    output: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    minimum: float | None
    maximum: float | None
    max_batch_size: int
    resize: bool
    invert: bool


@dataclass(frozen=True, slots=True)
class ModelVersions:
    """One model: its versions, the lowest first, and how callers are led to them.

    labels: name → version (`stable` → `3`). weights: version → its share of a canary; empty without one.
    default_version: what answers most callers who name none; "" where none is ready.
    """

    name: str
    versions: tuple[Model, ...]
    labels: Mapping[str, str]
    weights: Mapping[str, int]
    default_version: str


def reply_of(response: pb.PredictResponse) -> Reply:
    """A reply from its message."""
    answers = tuple(_answer(prediction) for prediction in response.predictions)
    return Reply(response.model, response.version, answers, response.receipt)


def stream_reply_of(message: pb.PredictStreamResponse) -> StreamReply:
    """What became of an item, from a message whose id is the item's index."""
    if message.WhichOneof("result") == "response":
        return StreamReply(int(message.id), reply=reply_of(message.response))
    return StreamReply(int(message.id), error=error_of_status(message.error))


def models_of(response: pb.ListModelsResponse) -> list[Model]:
    """Every version of every model."""
    return [_model(model) for model in response.models]


def model_versions_of(response: pb.GetModelResponse) -> ModelVersions:
    """One model from its message."""
    return ModelVersions(
        name=response.name,
        versions=tuple(_model(model) for model in response.versions),
        labels=dict(response.version_labels),
        weights=dict(response.version_weights),
        default_version=response.default_version,
    )


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
        input=model.input,
        output=model.output,
        input_shape=tuple(model.input_shape),
        output_shape=tuple(model.output_shape),
        minimum=model.minimum if model.HasField("minimum") else None,
        maximum=model.maximum if model.HasField("maximum") else None,
        max_batch_size=model.max_batch_size,
        resize=model.resize,
        invert=model.invert,
    )
