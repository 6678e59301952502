"""What a model takes and gives: the content of an archive's signature.json.

Shapes here are shapes of one example; the batch is the -1 in front of `input.shape` and
`output.shape`. Source of the words: Open Inference Protocol v2, model metadata.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from seqserve.errors import ArchiveInvalid, quote_came

SCHEMA_VERSION = 1
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z"
MAX_BATCH_BYTES = 256 * 2**20
"""Of one batch's inputs and outputs together: an engine makes one at warm-up."""
MAX_EXAMPLE_BYTES = 64 * 2**20
"""Of one example's input and output together: an archive brings several as golden rows."""
MAX_EXAMPLE_SHAPES = 64
MAX_LABELS = 65536
MAX_LABEL_CHARACTERS = 256
MAX_ALL_LABELS_CHARACTERS = 2**19
VERSION_PATTERN = r"^[1-9][0-9]{0,17}\Z"

Layout = Literal["flat", "HW", "CHW", "HWC"]
Label = Annotated[str, Field(max_length=MAX_LABEL_CHARACTERS)]
Dimension = Annotated[int, Field(ge=1, le=2**31)]


class Tolerance(NamedTuple):
    """Two answers agree when |Δ| ≤ absolute + relative·|expected|."""

    absolute: float
    relative: float


CPU_TOLERANCE = Tolerance(absolute=1e-5, relative=1e-5)
CUDA_TOLERANCE = Tolerance(absolute=1e-4, relative=1e-3)


class ImageSize(NamedTuple):
    """Pixels of the image that a model takes; channels is 1 (L) or 3 (RGB)."""

    height: int
    width: int
    channels: int


class _Frozen(BaseModel):
    # The patterns end in \Z, which only Python's own engine knows.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, regex_engine="python-re")


def _printable(name: str) -> str:
    """Names stand in replies, logs and on terminals."""
    if not name.isprintable():
        raise ValueError(f"{quote_came(name)} has characters that cannot be printed")
    return name


class TensorSpec(_Frozen):
    """One input or output: OIP datatype, shape with -1 for the batch."""

    name: Annotated[str, AfterValidator(_printable)] = Field(min_length=1, max_length=128)
    datatype: Literal["FP32"]
    shape: list[int] = Field(min_length=1, max_length=8)

    @model_validator(mode="after")
    def _batch_first(self) -> Self:
        if self.shape[0] != -1 or any(not 1 <= size <= 2**31 for size in self.shape[1:]):
            raise ValueError(f"shape {self.shape} of {self.name} must be -1 and then sizes of at least 1")
        return self

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape without the batch."""
        return tuple(self.shape[1:])


class ExampleShape(_Frozen):
    """A shape of one example that callers may send, and how its axes are meant."""

    shape: list[Dimension] = Field(max_length=7)
    layout: Layout


class Signature(_Frozen):
    """signature.json, checked. Raises ArchiveInvalid through `parse`."""

    schema_version: Literal[1]
    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(pattern=VERSION_PATTERN)
    platform: Literal["pytorch_torchscript"]
    task: Literal["classification", "regression"]
    input: TensorSpec
    output: TensorSpec
    example_shapes: list[ExampleShape] = Field(min_length=1, max_length=MAX_EXAMPLE_SHAPES)
    minimum: float | None = Field(default=None, allow_inf_nan=False)
    maximum: float | None = Field(default=None, allow_inf_nan=False)
    labels: list[Label] = Field(default_factory=list, max_length=MAX_LABELS)
    max_batch_size: int = Field(ge=1, le=65536)
    resize: bool = False  # PNG and JPEG files of other sizes are brought to the image's
    invert: bool = False  # and their pixels turned over, 255 - pixel
    training: dict[str, Any] = Field(default_factory=dict)
    tolerance: dict[Literal["cpu", "cuda"], dict[Literal["absolute", "relative"], float]] = Field(
        default_factory=dict
    )

    @classmethod
    def parse(cls, document: bytes) -> Signature:
        """signature.json from its bytes. Raises ArchiveInvalid that names the first wrong field."""
        try:
            return cls.model_validate_json(document)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "document"
            raise ArchiveInvalid(f"signature.json: {field}: {first['msg']}") from error

    @model_validator(mode="after")
    def _one_element_count(self) -> Self:
        accepted = [tuple(example.shape) for example in self.example_shapes]
        if len(set(accepted)) != len(accepted):
            raise ValueError(f"example shapes are listed twice: {accepted}")
        wrong = [shape for shape in accepted if math.prod(shape) != self.elements]
        if wrong:
            raise ValueError(f"example shape {list(wrong[0])} has not the input's {self.elements} elements")
        if self.labels and self.output.shape[1:] != [len(self.labels)]:
            raise ValueError(f"{len(self.labels)} labels for an output of shape {self.output.shape}")
        return self

    @model_validator(mode="after")
    def _memory_is_bounded(self) -> Self:
        example = 4 * (self.elements + math.prod(self.output.example_shape))
        if example > MAX_EXAMPLE_BYTES:
            raise ValueError(
                f"one example takes {example} bytes with its output; accepted: {MAX_EXAMPLE_BYTES}"
            )
        if self.max_batch_size * example > MAX_BATCH_BYTES:
            accepted = MAX_BATCH_BYTES // example
            raise ValueError(f"max_batch_size {self.max_batch_size}; accepted for this size: {accepted}")
        if sum(map(len, self.labels)) > MAX_ALL_LABELS_CHARACTERS:
            raise ValueError(f"labels: more than {MAX_ALL_LABELS_CHARACTERS} characters altogether")
        return self

    @model_validator(mode="after")
    def _answers_make_sense(self) -> Self:
        if self.task == "classification" and len(self.output.example_shape) != 1:
            raise ValueError(f"a classification has an output of shape [-1,classes], not {self.output.shape}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        return self

    @model_validator(mode="after")
    def _one_image(self) -> Self:
        sizes = {size for size in map(_image_size, self.example_shapes) if size}
        if len(sizes) > 1:
            raise ValueError(f"example shapes describe different images: {sorted(sizes)}")
        channels = next((size.channels for size in sizes), 1)
        if channels not in (1, 3):
            raise ValueError(f"images have {channels} channels; accepted: 1 (grey) or 3 (RGB)")
        # Flat rows of several channels could be in either order, and a wrong guess would go unnoticed.
        if channels > 1 and self.layouts.get(self.input.example_shape) not in ("CHW", "HWC"):
            raise ValueError("images of several channels need the input's own shape listed as CHW or HWC")
        return self

    @model_validator(mode="after")
    def _pictures_for_images(self) -> Self:
        wrong = next((field for field in ("resize", "invert") if getattr(self, field)), None)
        if wrong and self.image_size is None:
            raise ValueError(f"{wrong} is for models of images, and no example shape is HW, CHW or HWC")
        return self

    @cached_property
    def elements(self) -> int:
        """Numbers in one example."""
        return math.prod(self.input.example_shape)

    @cached_property
    def layouts(self) -> dict[tuple[int, ...], Layout]:
        """Accepted example shape → its layout."""
        return {tuple(example.shape): example.layout for example in self.example_shapes}

    @cached_property
    def image_size(self) -> ImageSize | None:
        """The image that the model takes, or None for a model that takes no images."""
        return next((size for size in map(_image_size, self.example_shapes) if size), None)


def _image_size(example: ExampleShape) -> ImageSize | None:
    """The picture that an example shape means. Raises ValueError where the layout has other axes."""
    if example.layout == "flat":
        return None
    if len(example.shape) != len(example.layout):
        raise ValueError(f"example shape {example.shape} cannot be {example.layout}")
    sizes = dict(zip(example.layout, example.shape, strict=True))
    return ImageSize(height=sizes["H"], width=sizes["W"], channels=sizes.get("C", 1))
