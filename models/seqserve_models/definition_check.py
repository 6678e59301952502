"""Whether a definition makes sense, told before anything is loaded or trained; each fault names its field."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import torch

from seqserve_models.definition import ModelDefinition, ModelInterface
from seqserve_models.errors import LayerOpaque, ModelInvalid
from seqserve_models.shapes import LayerRow, follow
from seqserve_models.source import call
from seqserve_models.train import initialise, logits_of

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
MAX_RANK = 7
MAX_BATCH_SIZE = 65536
TASKS = ("classification", "regression")
CHANNELS = (1, 3)


def check_definition(definition: ModelDefinition) -> tuple[LayerRow, ...]:
    """Follow the input's shape through the untrained module; one row for each layer.

    No rows where a layer cannot be followed by shapes alone. Raises ModelInvalid, LayerMisfit,
    TargetUnusable.
    """
    check_interface(definition)
    fault = next(_recipe_faults(definition), None)
    if fault:
        raise ModelInvalid(f"{definition.name}: {fault}")
    module = call(f"{definition.name}: build", lambda: initialise(definition, seed=0))
    if not isinstance(module, torch.nn.Sequential):
        raise ModelInvalid(
            f"{definition.name}: build gives an object of class {type(module).__name__}, not an nn.Sequential"
        )
    if definition.task == "classification":
        logits_of(module)
    try:
        rows = follow(module, definition.input_shape)
    except LayerOpaque:
        return ()
    _check_output(definition, rows)
    return rows


def check_interface(interface: ModelInterface) -> None:
    """Names, shapes, range and labels. Raises ModelInvalid."""
    fault = next(_faults(interface), None)
    if fault:
        raise ModelInvalid(f"{interface.name}: {fault}")


def _check_output(definition: ModelDefinition, rows: Sequence[LayerRow]) -> None:
    if rows[-1].output != definition.output_shape:
        raise ModelInvalid(
            f"{definition.name}: output_shape is {list(definition.output_shape)}, but {rows[-1].name} "
            f"{rows[-1].kind}, the last layer, gives {list(rows[-1].output)}"
        )


def _faults(interface: ModelInterface) -> Iterator[str]:
    if NAME_PATTERN.fullmatch(interface.name) is None:
        yield f"name {interface.name!r}; accepted: up to 128 letters, digits and _.-, a letter or digit first"
    if interface.task not in TASKS:
        yield f"task {interface.task!r}; accepted: {' or '.join(TASKS)}"
    if not 1 <= interface.max_batch_size <= MAX_BATCH_SIZE:
        yield f"max_batch_size {interface.max_batch_size}; accepted: 1 to {MAX_BATCH_SIZE}"
    if not interface.input_name or not interface.output_name:
        yield "input_name and output_name must not be empty"
    yield from _shape_faults(interface)
    yield from _answer_faults(interface)


def _shape_faults(interface: ModelInterface) -> Iterator[str]:
    for field in ("input_shape", "output_shape"):
        shape = getattr(interface, field)
        if len(shape) > MAX_RANK or any(size < 1 for size in shape):
            yield f"{field} {list(shape)}; accepted: up to {MAX_RANK} sizes of at least 1"
    elements = math.prod(interface.input_shape)
    shapes = [example.shape for example in interface.accepted_shapes]
    if len(set(shapes)) != len(shapes):
        yield f"example_shapes has a shape twice: {[list(shape) for shape in shapes]}"
    for shape, layout in interface.accepted_shapes:
        if math.prod(shape) != elements:
            yield f"example_shapes: {list(shape)} has {math.prod(shape)} numbers, the input {elements}"
        if layout != "flat" and len(shape) != len(layout):
            yield f"example_shapes: {list(shape)} cannot be {layout}"
        channels = dict(zip(layout, shape, strict=False)).get("C", 1)
        if layout != "flat" and channels not in CHANNELS:
            yield f"example_shapes: {list(shape)} has {channels} channels; accepted: 1 (grey) or 3 (RGB)"


def _answer_faults(interface: ModelInterface) -> Iterator[str]:
    if interface.task == "classification" and len(interface.output_shape) != 1:
        yield f"output_shape {list(interface.output_shape)}; a classification has one axis, its classes"
    if interface.labels and interface.output_shape != (len(interface.labels),):
        yield f"labels has {len(interface.labels)} for an output_shape of {list(interface.output_shape)}"
    low, high = interface.minimum, interface.maximum
    if any(bound is not None and not math.isfinite(bound) for bound in (low, high)):
        yield f"minimum {low} and maximum {high} must be finite; None is no bound"
    if low is not None and high is not None and low > high:
        yield f"minimum {low:g} is above maximum {high:g}"


def _recipe_faults(definition: ModelDefinition) -> Iterator[str]:
    if not definition.recipes:
        yield "recipes is empty; a build needs at least one"
    for name, recipe in definition.recipes.items():
        for field in ("epochs", "batch_size", "patience"):
            value = getattr(recipe, field)
            if value is not None and value < 1:
                yield f"recipes[{name!r}].{field} {value}; accepted: at least 1"
        if not (math.isfinite(recipe.learning_rate) and recipe.learning_rate > 0):
            yield f"recipes[{name!r}].learning_rate {recipe.learning_rate}; accepted: above 0"
