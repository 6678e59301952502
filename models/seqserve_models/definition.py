"""What the build side knows of a model before it is trained: all that a user writes to have one built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from seqserve_models.dataset import DataOptions, Dataset

Layout = Literal["flat", "HW", "CHW", "HWC"]
Task = Literal["classification", "regression"]
Loss = Callable[[Tensor, Tensor], Tensor]


class ExampleShape(NamedTuple):
    """A shape of one example that callers may send, and how its axes are meant."""

    shape: tuple[int, ...]
    layout: Layout


def adam(parameters: list[nn.Parameter], learning_rate: float) -> Optimizer:
    """The optimizer of a recipe that names none."""
    return torch.optim.Adam(parameters, lr=learning_rate, fused=True)


def cosine(optimizer: Optimizer, steps: int) -> LRScheduler:
    """The schedule of a recipe that names none: down to zero along a cosine."""
    return CosineAnnealingLR(optimizer, steps)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained on one data set.

    load: gives the data set; its options are those of the command line.
    augmentation: takes inputs FP32 [b, *example], shaped as the data set's, and a generator for all
    chance, and gives inputs of the same shape; only for examples that are trained on.
    optimizer: takes the parameters to train and the learning rate. schedule: takes the optimizer and the
    number of steps; stepped after every batch, but a ReduceLROnPlateau after every epoch with its loss.
    patience: end early after so many epochs without a smaller loss; None never does.
    """

    load: Callable[[DataOptions], Dataset]
    epochs: int
    batch_size: int = 64
    learning_rate: float = 1e-3
    augmentation: Callable[[Tensor, torch.Generator], Tensor] | None = None
    optimizer: Callable[[list[nn.Parameter], float], Optimizer] = adam
    schedule: Callable[[Optimizer, int], LRScheduler] = cosine
    patience: int | None = None


@dataclass(frozen=True, kw_only=True)
class ModelInterface:
    """What a model takes and gives, as its archive's signature will say.

    name: of the archive; letters, digits and `_.-`.
    input_shape, output_shape: of one example, without the batch.
    task: a classification gives probabilities, a regression values.
    example_shapes: that callers may send; empty accepts the input's own shape alone.
    minimum, maximum: range of the input's values, None where there is no bound.
    labels: of the classes, in the order of the outputs; may be empty.
    max_batch_size: examples that an engine sees at once.
    resize: PNG and JPEG files of other sizes are brought to the model's, whatever their proportions.
    invert: the pixels of such files are turned over, 255 - pixel. Both leave tensors as they are.
    """

    name: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    task: Task = "classification"
    input_name: str = "input"
    output_name: str = "output"
    example_shapes: tuple[ExampleShape, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    labels: tuple[str, ...] = ()
    max_batch_size: int = 256
    resize: bool = False
    invert: bool = False

    @property
    def accepted_shapes(self) -> tuple[ExampleShape, ...]:
        """As callers may send one example; never empty."""
        return self.example_shapes or (ExampleShape(self.input_shape, "flat"),)


@dataclass(frozen=True, kw_only=True)
class ModelDefinition(ModelInterface):
    """A model that can be built: besides its interface the module, and how it is trained.

    build: makes the untrained module; torch's global generator decides its weights. That of a
    classification ends in nn.Softmax and is trained on what comes before it.
    recipes: by name of the data set; the first is taken where none is asked for.
    loss: takes the logits (of a regression the outputs) and the targets; None takes cross entropy, of a
    regression the mean squared error.
    derivation: where its weights come from, for a model that is made by editing another.
    """

    build: Callable[[], nn.Sequential]
    recipes: Mapping[str, Recipe]
    loss: Loss | None = None
    derivation: Derivation | None = None

    @property
    def default_dataset(self) -> str:
        """The first of the recipes."""
        return next(iter(self.recipes))


@dataclass(frozen=True)
class Derivation:
    """A model that begins as another one: `edit` takes the trained module of `base` and may change it."""

    base: ModelDefinition
    edit: Callable[[nn.Sequential], nn.Sequential]
