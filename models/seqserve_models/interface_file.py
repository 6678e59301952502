"""A signature as a user writes it for `seqserve package`: the fields of an archive's signature.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seqserve_models.definition import ExampleShape, Layout, ModelInterface, Task
from seqserve_models.definition_check import check_interface
from seqserve_models.errors import SignatureUnusable

BATCH = -1


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Tensor(_Strict):
    name: str
    datatype: Literal["FP32"] = "FP32"
    shape: list[int]


class _Shape(_Strict):
    shape: list[int]
    layout: Layout = "flat"


class InterfaceFile(_Strict):
    """The fields that may be written; those without a default must be.

    version, platform and tolerance are accepted, so that an archive's own signature.json fits, and not
    used: the store counts versions, and the rest is the same for every archive.
    """

    name: str
    task: Task = "classification"
    input: _Tensor
    output: _Tensor
    example_shapes: list[_Shape] = Field(default_factory=list)
    minimum: float | None = None
    maximum: float | None = None
    labels: list[str] = Field(default_factory=list)
    max_batch_size: int = 256
    resize: bool = False
    invert: bool = False
    training: dict[str, Any] = Field(default_factory=dict)
    schema_version: Literal[1] = 1
    version: Any = None
    platform: Any = None
    tolerance: Any = None

    def interface(self) -> ModelInterface:
        """The same as the build knows it. Raises ModelInvalid."""
        interface = ModelInterface(
            name=self.name,
            task=self.task,
            input_name=self.input.name,
            input_shape=tuple(self.input.shape[1:]),
            output_name=self.output.name,
            output_shape=tuple(self.output.shape[1:]),
            example_shapes=tuple(ExampleShape(tuple(one.shape), one.layout) for one in self.example_shapes),
            minimum=self.minimum,
            maximum=self.maximum,
            labels=tuple(self.labels),
            max_batch_size=self.max_batch_size,
            resize=self.resize,
            invert=self.invert,
        )
        check_interface(interface)
        return interface


def read_interface(path: Path) -> InterfaceFile:
    """A signature from its JSON file. Raises SignatureUnusable, which names the first wrong field."""
    try:
        content = path.read_bytes()
        read = InterfaceFile.model_validate_json(content)
    except OSError as error:
        raise SignatureUnusable(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the document"
        raise SignatureUnusable(f"{path}: {field}: {first['msg']}") from error
    _check_numbers(path, content)
    for field, tensor in (("input", read.input), ("output", read.output)):
        if tensor.shape[:1] != [BATCH]:
            raise SignatureUnusable(
                f"{path}: {field}.shape is {tensor.shape}; accepted: {BATCH} for the batch, then the sizes"
            )
    return read


def _check_numbers(path: Path, content: bytes) -> None:
    """JSON has no NaN and no Infinity, but its readers know them. Raises SignatureUnusable."""

    def refuse(constant: str) -> None:
        raise SignatureUnusable(f"{path}: {constant} is no number of JSON; leave a bound out, or write null")

    json.loads(content, parse_constant=refuse)
