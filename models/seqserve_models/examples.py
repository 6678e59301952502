"""A data set made ready for one model: checked against its definition, as tensors that a network takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqserve_models.dataset import Dataset, to_values
from seqserve_models.definition import ModelDefinition
from seqserve_models.errors import DatasetBroken

INTEGERS = "iu"


@dataclass(frozen=True, eq=False)
class Examples:
    """inputs: FP32 [n, *example], shaped as the data set's. targets: int64 [n] or FP32 [n, *output]."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> Examples:
        """The same on a device."""
        return Examples(self.inputs.to(device), self.targets.to(device))


def prepare(definition: ModelDefinition, dataset: Dataset) -> tuple[Examples, Examples]:
    """The examples to train on and those held out. Raises DatasetBroken, which names the field."""
    return (
        _examples(definition, "train", dataset.train_inputs, dataset.train_targets),
        _examples(definition, "test", dataset.test_inputs, dataset.test_targets),
    )


def _examples(
    definition: ModelDefinition, part: str, inputs: npt.NDArray[Any], targets: npt.NDArray[Any]
) -> Examples:
    for field, array in ((f"{part}_inputs", inputs), (f"{part}_targets", targets)):
        _check_array(definition, field, array)
    values = _checked_inputs(definition, f"{part}_inputs", inputs)
    if len(targets) != len(values):
        raise DatasetBroken(
            f"{definition.name}: {part}_targets has {len(targets)} rows, {part}_inputs has {len(values)}"
        )
    check = _checked_classes if definition.task == "classification" else _checked_values
    return Examples(torch.from_numpy(values), torch.from_numpy(check(definition, f"{part}_targets", targets)))


def _check_array(definition: ModelDefinition, field: str, array: Any) -> None:
    if not isinstance(array, np.ndarray) or array.ndim < 1:
        shown = "a single number" if isinstance(array, np.ndarray) else f"of class {type(array).__name__}"
        raise DatasetBroken(f"{definition.name}: {field} is {shown}; accepted: a numpy array, examples first")


def _checked_inputs(
    definition: ModelDefinition, field: str, inputs: npt.NDArray[Any]
) -> npt.NDArray[np.float32]:
    name = f"{definition.name}: {field}"
    is_image = any(example.layout != "flat" for example in definition.accepted_shapes)
    accepted = "float32, or uint8 pixels" if is_image else "float32"
    if inputs.dtype != np.float32 and not (is_image and inputs.dtype == np.uint8):
        raise DatasetBroken(f"{name} is {inputs.dtype}; accepted: {accepted}")
    if len(inputs) == 0:
        raise DatasetBroken(f"{name} is empty; at least one example is needed")
    _check_shape(definition, name, inputs.shape[1:])
    values = _for_torch(to_values(inputs))
    low = -math.inf if definition.minimum is None else definition.minimum
    high = math.inf if definition.maximum is None else definition.maximum
    strange = int(values.size - np.isfinite(values).sum())
    if strange:
        raise DatasetBroken(f"{name} has {strange} values that are not finite")
    smallest, largest = values.min(), values.max()
    if smallest < low or largest > high:
        raise DatasetBroken(
            f"{name} runs from {smallest:g} to {largest:g}; accepted: {low:g} to {high:g}",
            hint="pixels from 0 to 255 are accepted as uint8" if largest > 1 and is_image else "",
        )
    return values


def _check_shape(definition: ModelDefinition, name: str, shape: tuple[int, ...]) -> None:
    """Only shapes that are the model's own numbers in their order: no axes are moved here."""
    sizes = {size for example in definition.accepted_shapes for size in _channels(example)}
    accepted = [
        example.shape
        for example in definition.accepted_shapes
        if example.shape == definition.input_shape or sizes <= {1}
    ]
    if shape not in accepted:
        shown = " or ".join(str(list(known)) for known in accepted) or str(list(definition.input_shape))
        raise DatasetBroken(f"{name} has examples of shape {list(shape)}; accepted: {shown}")


def _channels(example: Any) -> set[int]:
    return {size for axis, size in zip(example.layout, example.shape, strict=False) if axis == "C"}


def _checked_classes(
    definition: ModelDefinition, field: str, targets: npt.NDArray[Any]
) -> npt.NDArray[np.int64]:
    classes = definition.output_shape[0]
    name = f"{definition.name}: {field}"
    if targets.dtype.kind not in INTEGERS or targets.ndim != 1:
        raise DatasetBroken(
            f"{name} is {targets.dtype} of shape {list(targets.shape)}; accepted: whole numbers of shape "
            f"[{len(targets)}], the number of each example's class"
        )
    if targets.min() < 0 or targets.max() >= classes:
        raise DatasetBroken(
            f"{name} runs from {targets.min()} to {targets.max()}; accepted: 0 to {classes - 1}"
        )
    return targets.astype(np.int64)


def _checked_values(
    definition: ModelDefinition, field: str, targets: npt.NDArray[Any]
) -> npt.NDArray[np.float32]:
    name, wanted = f"{definition.name}: {field}", [len(targets), *definition.output_shape]
    if targets.dtype != np.float32 or list(targets.shape) != wanted:
        raise DatasetBroken(
            f"{name} is {targets.dtype} of shape {list(targets.shape)}; accepted: float32 of shape {wanted}"
        )
    if not np.isfinite(targets).all():
        raise DatasetBroken(f"{name} has a value that is not finite")
    return _for_torch(targets)


def _for_torch(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The same numbers as torch takes them: in their order, and free to be written to."""
    return np.require(values, requirements=["C", "W"])
