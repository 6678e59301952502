"""What the build side knows of a model before it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import nn

from seqserve_models.augmentation import Augmentation

Layout = Literal["flat", "HW", "CHW", "HWC"]
Task = Literal["classification", "regression"]


class ExampleShape(NamedTuple):
    """A shape of one example that callers may send, and how its axes are meant."""

    shape: tuple[int, ...]
    layout: Layout


@dataclass(frozen=True)
class Recipe:
    """How a model is trained on one data set. The learning rate falls to zero along a cosine."""

    epochs: int
    batch_size: int
    learning_rate: float
    augmentation: Augmentation | None = None


@dataclass(frozen=True)
class ModelDefinition:
    """A model that can be built: its module, what it takes and gives, how it is trained.

    build: makes the untrained module; torch's global generator decides its weights.
    input_shape, output_shape: of one example, without the batch.
    minimum, maximum: range of the input's values, None where there is no bound.
    recipes: by name of the data set; `default_dataset` is one of them.
    """

    name: str
    task: Task
    build: Callable[[], nn.Sequential]
    input_name: str
    input_shape: tuple[int, ...]
    output_name: str
    output_shape: tuple[int, ...]
    example_shapes: tuple[ExampleShape, ...]
    minimum: float | None
    maximum: float | None
    labels: tuple[str, ...]
    max_batch_size: int
    default_dataset: str
    recipes: Mapping[str, Recipe]
