"""Whether a definition makes sense, told before anything is loaded or trained; each fault names its field."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from torch import nn

from seqserve_models.definition import (
    Derivation,
    ExampleShape,
    Layout,
    ModelDefinition,
    ModelInterface,
    Recipe,
    Task,
)
from seqserve_models.errors import LayerOpaque, ModelInvalid
from seqserve_models.expectations import CONTAINERS, explain_container
from seqserve_models.export import check_scriptable
from seqserve_models.foreign import call
from seqserve_models.shapes import LayerRow, follow
from seqserve_models.train import initialise, logits_of

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
MAX_NAME_CHARACTERS = 128
MAX_RANK = 7
MAX_SIZE = 2**31
MAX_BATCH_SIZE = 65536
MAX_EXAMPLE_SHAPES = 64
# Of inputs and outputs together: what an engine must hold for a batch, and an archive for golden rows.
MAX_BATCH_BYTES, MAX_EXAMPLE_BYTES = 256 * 2**20, 64 * 2**20
MAX_LABELS, MAX_LABEL_CHARACTERS, MAX_ALL_LABELS_CHARACTERS = 65536, 256, 2**19
TASKS, LAYOUTS = get_args(Task), get_args(Layout)
CHANNELS = (1, 3)
A_TEXT, A_BOUND = (str, "a text"), (int | float | None, "a number, or None for no bound")
A_SWITCH = (bool, "True or False")
KINDS: dict[str, tuple[Any, str]] = {
    "name": A_TEXT,
    "input_name": A_TEXT,
    "output_name": A_TEXT,
    "max_batch_size": (int, "a whole number"),
    "minimum": A_BOUND,
    "maximum": A_BOUND,
    "resize": A_SWITCH,
    "invert": A_SWITCH,
}


def check_definition(definition: ModelDefinition) -> tuple[LayerRow, ...]:
    """Follow the input's shape through the untrained module; one row for each layer.

    No rows where a layer cannot be followed by shapes alone. Raises ModelInvalid, LayerMisfit,
    ExportFailed, TargetUnusable.
    """
    check_interface(definition)
    fault = next(_recipe_faults(definition), None)
    if fault:
        raise ModelInvalid(f"{definition.name}: {fault}")
    module = _untrained(definition)
    rows = _followed(module, definition)
    if definition.task == "classification":
        logits_of(module, definition.name)
    if rows:
        _check_output(definition, rows)
    if definition.derivation is not None:
        _check_edit(definition, definition.derivation, module)
    check_scriptable(module)
    return rows


def check_interface(interface: ModelInterface) -> None:
    """Names, shapes, range and labels. Raises ModelInvalid."""
    fault = next(_faults(interface), None)
    if fault:
        raise ModelInvalid(f"{interface.name}: {fault}")


def _untrained(definition: ModelDefinition) -> nn.Sequential:
    if isinstance(definition.build, nn.Module):
        kind = type(definition.build).__name__
        raise ModelInvalid(
            f"{definition.name}: build is an object of class {kind}; accepted: a function that makes one"
        )
    module: Any = call(f"{definition.name}: build", lambda: initialise(definition, seed=0))
    if isinstance(module, nn.Sequential):
        return module
    raise ModelInvalid(
        f"{definition.name}: build gives an object of class {type(module).__name__}, not an nn.Sequential",
        hint=explain_container(module) if isinstance(module, CONTAINERS) else "",
    )


def _followed(module: nn.Sequential, definition: ModelDefinition) -> tuple[LayerRow, ...]:
    try:
        return follow(module, definition.input_shape)
    except LayerOpaque:
        return ()


def _check_edit(definition: ModelDefinition, derivation: Any, module: nn.Sequential) -> None:
    """What `edit` makes of the base has the layers of `build`, by whose names weights are found."""
    if not isinstance(derivation, Derivation):
        raise ModelInvalid(f"{definition.name}: derivation {derivation!r}; accepted: a Derivation, or None")
    base = _untrained(derivation.base)
    edited: Any = call(f"{definition.name}: edit", lambda: derivation.edit(base))
    if not isinstance(edited, nn.Sequential):
        kind = type(edited).__name__
        raise ModelInvalid(f"{definition.name}: edit gives an object of class {kind}, not an nn.Sequential")
    shapes = [
        {key: list(tensor.shape) for key, tensor in one.state_dict().items()} for one in (edited, module)
    ]
    if shapes[0] != shapes[1]:
        raise ModelInvalid(
            f"{definition.name}: edit gives the weights {shapes[0]}, and build {shapes[1]}",
            hint="build is edit of the untrained base",
        )


def _check_output(definition: ModelDefinition, rows: Sequence[LayerRow]) -> None:
    if rows[-1].output != definition.output_shape:
        raise ModelInvalid(
            f"{definition.name}: output_shape is {list(definition.output_shape)}, but {rows[-1].name} "
            f"{rows[-1].kind}, the last layer, gives {list(rows[-1].output)}"
        )


def _faults(interface: ModelInterface) -> Iterator[str]:
    yield from _kind_faults(interface)
    if NAME_PATTERN.fullmatch(interface.name) is None:
        yield f"name {interface.name!r}; accepted: up to 128 letters, digits and _.-, a letter or digit first"
    if interface.task not in TASKS:
        yield f"task {interface.task!r}; accepted: {' or '.join(TASKS)}"
    if not 1 <= interface.max_batch_size <= MAX_BATCH_SIZE:
        yield f"max_batch_size {interface.max_batch_size}; accepted: 1 to {MAX_BATCH_SIZE}"
    for field in ("input_name", "output_name"):
        characters = len(getattr(interface, field))
        if not 1 <= characters <= MAX_NAME_CHARACTERS:
            yield f"{field} has {characters} characters; accepted: 1 to {MAX_NAME_CHARACTERS}"
        if not getattr(interface, field).isprintable():
            yield f"{field} {getattr(interface, field)!r}; accepted: printable characters"
    yield from _shape_faults(interface)
    yield from _memory_faults(interface)
    yield from _image_faults(interface)
    yield from _answer_faults(interface)


def _kind_faults(interface: ModelInterface) -> Iterator[str]:
    """What Python lets anybody write, and a signature cannot hold."""
    for field, (kind, accepted) in KINDS.items():
        if not isinstance(getattr(interface, field), kind):
            yield f"{field} {getattr(interface, field)!r}; accepted: {accepted}"
    for field in ("input_shape", "output_shape"):
        if not _is_shape(getattr(interface, field)):
            yield f"{field} {getattr(interface, field)!r}; accepted: a tuple of sizes, such as (28, 28)"
    examples: Any = interface.example_shapes
    if not isinstance(examples, tuple) or not all(map(_is_example_shape, examples)):
        yield f"example_shapes {examples!r}; accepted: a tuple of ExampleShape, each of a shape and a layout"
    labels: Any = interface.labels
    if not isinstance(labels, tuple) or not all(isinstance(label, str) for label in labels):
        yield f"labels {labels!r}; accepted: a tuple of texts"


def _is_shape(value: object) -> bool:
    return isinstance(value, tuple) and all(type(size) is int for size in value)


def _is_example_shape(value: object) -> bool:
    return isinstance(value, ExampleShape) and _is_shape(value.shape)


def _shape_faults(interface: ModelInterface) -> Iterator[str]:
    for field in ("input_shape", "output_shape"):
        shape = getattr(interface, field)
        if len(shape) > MAX_RANK or any(not 1 <= size <= MAX_SIZE for size in shape):
            yield f"{field} {list(shape)}; accepted: up to {MAX_RANK} sizes from 1 to {MAX_SIZE}"
    elements = math.prod(interface.input_shape)
    if len(interface.accepted_shapes) > MAX_EXAMPLE_SHAPES:
        yield f"example_shapes has {len(interface.accepted_shapes)}; accepted: up to {MAX_EXAMPLE_SHAPES}"
    shapes = [example.shape for example in interface.accepted_shapes]
    if len(set(shapes)) != len(shapes):
        yield f"example_shapes has a shape twice: {[list(shape) for shape in shapes]}"
    for shape, layout in interface.accepted_shapes:
        if math.prod(shape) != elements:
            yield f"example_shapes: {list(shape)} has {math.prod(shape)} numbers, the input {elements}"
        if len(shape) > MAX_RANK or any(size < 1 for size in shape):
            yield f"example_shapes: {list(shape)}; accepted: up to {MAX_RANK} sizes of at least 1"
        if layout not in LAYOUTS:
            yield f"example_shapes: layout {layout!r} of {list(shape)}; accepted: {', '.join(LAYOUTS)}"
        if layout != "flat" and len(shape) != len(layout):
            yield f"example_shapes: {list(shape)} cannot be {layout}"


def _memory_faults(interface: ModelInterface) -> Iterator[str]:
    """The gateway takes no archive that makes it hold more."""
    example = 4 * (math.prod(interface.input_shape) + math.prod(interface.output_shape))
    if example > MAX_EXAMPLE_BYTES:
        yield f"one example takes {example} bytes with its output; accepted: up to {MAX_EXAMPLE_BYTES}"
    elif interface.max_batch_size * example > MAX_BATCH_BYTES:
        accepted = f"1 to {MAX_BATCH_BYTES // example} for examples of this size"
        yield f"max_batch_size {interface.max_batch_size}; accepted: {accepted}"


def _image_faults(interface: ModelInterface) -> Iterator[str]:
    """All layouts but flat mean pictures, and one picture."""
    images = [example for example in interface.accepted_shapes if example.layout != "flat"]
    for field in ("resize", "invert"):
        if getattr(interface, field) and not images:
            yield f"{field} is for pictures; accepted where one of example_shapes is HW, CHW or HWC"
    sizes = {
        tuple(sorted({"C": 1, **dict(zip(layout, shape, strict=True))}.items())) for shape, layout in images
    }
    if len(sizes) > 1:
        told = ", ".join(f"{list(shape)} as {layout}" for shape, layout in images)
        yield f"example_shapes describe different images: {told}"
    channels = max((dict(size)["C"] for size in sizes), default=1)
    if channels not in CHANNELS:
        yield f"example_shapes: images have {channels} channels; accepted: 1 (grey) or 3 (RGB)"
    # Rows of several channels could be in either order, and a wrong guess would go unnoticed.
    if channels > 1 and interface.input_shape not in [example.shape for example in images]:
        yield f"example_shapes must say whether the input's own {list(interface.input_shape)} is CHW or HWC"


def _answer_faults(interface: ModelInterface) -> Iterator[str]:
    if interface.task == "classification" and len(interface.output_shape) != 1:
        yield f"output_shape {list(interface.output_shape)}; a classification has one axis, its classes"
    if interface.labels and interface.output_shape != (len(interface.labels),):
        yield f"labels has {len(interface.labels)} for an output_shape of {list(interface.output_shape)}"
    if len(interface.labels) > MAX_LABELS:
        yield f"labels has {len(interface.labels)}; accepted: up to {MAX_LABELS}"
    if max(map(len, interface.labels), default=0) > MAX_LABEL_CHARACTERS:
        yield f"labels has one of more than {MAX_LABEL_CHARACTERS} characters"
    if sum(map(len, interface.labels)) > MAX_ALL_LABELS_CHARACTERS:
        yield f"labels has more than {MAX_ALL_LABELS_CHARACTERS} characters altogether"
    if len(set(interface.labels)) != len(interface.labels):
        yield f"labels has one twice: {', '.join(interface.labels)}"
    low, high = interface.minimum, interface.maximum
    if any(bound is not None and not math.isfinite(bound) for bound in (low, high)):
        yield f"minimum {low} and maximum {high} must be finite; None is no bound"
    if low is not None and high is not None and low > high:
        yield f"minimum {low:g} is above maximum {high:g}"


def _recipe_faults(definition: ModelDefinition) -> Iterator[str]:
    recipes: Any = definition.recipes
    if not isinstance(recipes, Mapping) or not all(isinstance(one, Recipe) for one in recipes.values()):
        yield f"recipes {recipes!r}; accepted: a Recipe by the name of each data set"
    if not recipes:
        yield "recipes is empty; a build needs at least one"
    for name, recipe in recipes.items():
        for field in ("epochs", "batch_size", "patience"):
            value = getattr(recipe, field)
            may_miss = field == "patience" and value is None
            if not may_miss and (not isinstance(value, int) or value < 1):
                yield f"recipes[{name!r}].{field} {value}; accepted: whole numbers from 1"
        rate = recipe.learning_rate
        if not isinstance(rate, int | float) or not math.isfinite(rate) or rate <= 0:
            yield f"recipes[{name!r}].learning_rate {rate}; accepted: finite and above 0"
