"""The JSON documents of the HTTP port, as classes: they check what comes and describe it in OpenAPI.

Source: Open Inference Protocol v2 (REST) and Triton's extensions. Members that are not named here are
ignored, and `null` is the same as nothing where something is optional.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, ValidationError, WithJsonSchema

from seqserve.errors import InvalidRequest
from seqserve.http_api.strict_json import words

# Any: values of parameters and tensors are looked at where they are used.
Parameters = Annotated[dict[str, Any], Field(description="Unknown ones are ignored.")]
NoParameters = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "maxProperties": 0, "description": "The store is the only source."}),
]
Dimension = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Data = Annotated[
    Any,
    SkipValidation,
    WithJsonSchema(
        {"type": ["array", "null"], "items": {}, "description": "Row-major: flat, or nested as the shape."}
    ),
]
MAX_SHAPE = 64  # far beyond the rank that is accepted, so that the decoder says what is
MAX_TENSORS = 64


class Document(BaseModel):
    """One JSON object."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class InferInput(Document):
    """One input: `data`, or `binary_data_size` among the parameters and bytes behind the JSON."""

    name: str
    datatype: str
    shape: list[Dimension] = Field(max_length=MAX_SHAPE)
    parameters: Parameters | None = None
    data: Data = None


class RequestedOutput(Document):
    """One output, and how it is wanted: `binary_data`, `classification`."""

    name: str
    parameters: Parameters | None = None


class InferRequest(Document):
    """Parameters: `timeout` in microseconds, `binary_data_output`."""

    id: str | None = None
    parameters: Parameters | None = None
    inputs: list[InferInput] = Field(max_length=MAX_TENSORS)
    outputs: list[RequestedOutput] | None = Field(None, max_length=MAX_TENSORS)


class InferOutput(Document):
    """One output, its data flat; `binary_data_size` among the parameters where they lie behind the JSON."""

    name: str
    datatype: str
    shape: list[int]
    parameters: Parameters | None = None
    data: Data = None


class InferReply(Document):
    """Parameters: the receipt, `seqserve_*`."""

    id: str | None = None
    model_name: str
    model_version: str
    parameters: Parameters
    outputs: list[InferOutput]


class ServerMetadata(Document):
    """What runs here."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(Document):
    """The process lives."""

    live: bool


class ServerReady(Document):
    """The gateway as a whole serves."""

    ready: bool


class ModelNames(Document):
    """Every model, as KServe lists them."""

    models: list[str]


class TensorMetadata(Document):
    """-1 in the shape stands for the batch."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Document):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(Document):
    """That version, or the one that an unversioned request would meet, serves."""

    name: str
    ready: bool


class DurationDocument(Document):
    """How often, and how long all of it took."""

    count: int
    ns: int


class InferStatistics(Document):
    """Requests, by what became of them and where their time went."""

    success: DurationDocument
    fail: DurationDocument
    queue: DurationDocument
    compute_input: DurationDocument
    compute_infer: DurationDocument
    compute_output: DurationDocument


class InferBatchStatistics(Document):
    """Batches of one size."""

    batch_size: int
    compute_input: DurationDocument
    compute_infer: DurationDocument
    compute_output: DurationDocument


class ModelStatistics(Document):
    """One version; last_inference in milliseconds since the epoch."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferStatistics
    batch_stats: list[InferBatchStatistics]


class StatisticsReply(Document):
    """Counters since the start."""

    model_stats: list[ModelStatistics]


class IndexRequest(Document):
    """ready: only versions that are."""

    ready: bool | None = None


class LoadRequest(Document):
    """It takes no parameters."""

    parameters: NoParameters | None = None


class UnloadRequest(Document):
    """Parameters are ignored."""

    parameters: Parameters | None = None


class Refusal(Document):
    """Why there is no answer: `error` in words, `reason` for programs."""

    error: str
    reason: str
    request_id: str
    field: str | None = None
    accepted: str | None = None
    retry_after_seconds: float | None = None


D = TypeVar("D", bound=Document)

_ACCEPTED = {
    "datatype": "a string",
    "id": "a string",
    "inputs": f"an array of at most {MAX_TENSORS} objects",
    "name": "a string",
    "outputs": f"an array of at most {MAX_TENSORS} objects",
    "parameters": "an object",
    "ready": "true or false",
    "shape[]": "an integer of 64 bits",
    "shape": f"an array of at most {MAX_SHAPE} integers of 64 bits",
}


def read_document(kind: type[D], document: dict[str, Any]) -> D:
    """A checked document. Raises InvalidRequest that names the first member that does not fit."""
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
    came = "nothing" if first["type"] == "missing" else words(first["input"])
    accepted = _ACCEPTED.get(_member(first["loc"]), "an object")
    raise InvalidRequest("MALFORMED_REQUEST", field=_path(first["loc"]), came=came, accepted=accepted)


def _member(location: tuple[int | str, ...]) -> str:
    """The last name, `shape`, or `shape[]` for an element of it."""
    names = [part for part in location if isinstance(part, str)]
    return f"{names[-1]}[]" if isinstance(location[-1], int) else names[-1]


def _path(location: tuple[int | str, ...]) -> str:
    """`inputs[0].shape`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
