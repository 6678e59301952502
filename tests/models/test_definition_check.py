"""Definitions that make no sense, refused before anything is loaded; each refusal names the field."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from seqserve.signature import Signature
from seqserve_models.definition import ExampleShape, ModelDefinition
from seqserve_models.definition_check import check_definition, check_interface
from seqserve_models.errors import BuildError, LayerMisfit, ModelInvalid, TargetUnusable
from seqserve_models.signature import signature_document


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "-m"}, "name '-m'; accepted: up to 128 letters"),
        ({"name": "a b"}, "name 'a b'"),
        ({"name": "m" * 129}, "name 'mmm"),
        ({"name": 7}, "name 7; accepted: a text"),
        ({"task": "ranking"}, "task 'ranking'; accepted: classification or regression"),
        ({"recipes": {}}, "recipes is empty"),
        ({"max_batch_size": 0}, "max_batch_size 0; accepted: 1 to 65536"),
        ({"max_batch_size": 65537}, "max_batch_size 65537"),
        ({"max_batch_size": 2.5}, "max_batch_size 2.5; accepted: a whole number"),
        ({"resize": 1}, "resize 1; accepted: True or False"),
        ({"invert": None}, "invert None; accepted: True or False"),
        (
            {"resize": True, "example_shapes": ()},
            "resize is for pictures; accepted where one of example_shapes is HW",
        ),
        ({"invert": True, "example_shapes": ()}, "invert is for pictures"),
        ({"input_name": ""}, "input_name has 0 characters; accepted: 1 to 128"),
        ({"output_name": "p" * 129}, "output_name has 129 characters"),
        ({"input_shape": 784}, "input_shape 784; accepted: a tuple of sizes"),
        ({"output_shape": [10]}, r"output_shape \[10\]; accepted: a tuple of sizes"),
        ({"input_shape": (784.0,)}, r"input_shape \(784\.0,\); accepted: a tuple of sizes"),
        ({"input_shape": (0,)}, r"input_shape \[0\]; accepted: up to 7 sizes from 1"),
        ({"input_shape": (2**31 + 1,)}, r"input_shape \[2147483649\]"),
        ({"output_shape": (1,) * 8}, r"output_shape \[1, 1, 1"),
        (
            {"example_shapes": ((28, 28),)},
            r"example_shapes \(\(28, 28\),\); accepted: a tuple of ExampleShape",
        ),
        ({"example_shapes": (ExampleShape((28, -28), "HW"),)}, r"example_shapes: \[28, -28\]"),
        (
            {"example_shapes": (ExampleShape((1,) * 7 + (784,), "flat"),)},
            "example_shapes: .*; accepted: up to 7",
        ),
        (
            {"example_shapes": (ExampleShape((1, 1, 28, 28), "NCHW"),)},  # type: ignore[arg-type]
            r"layout 'NCHW' of \[1, 1, 28, 28\]; accepted: flat, HW, CHW, HWC",
        ),
        ({"example_shapes": (ExampleShape((28, 27), "HW"),)}, r"\[28, 27\] has 756 numbers, the input 784"),
        ({"example_shapes": (ExampleShape((784,), "HW"),)}, r"\[784\] cannot be HW"),
        ({"example_shapes": (ExampleShape((7, 4, 28), "CHW"),)}, r"images have 7 channels; accepted: 1"),
        (
            {"example_shapes": (ExampleShape((28, 28), "HW"), ExampleShape((1, 14, 56), "CHW"))},
            r"example_shapes describe different images: \[28, 28\] as HW, \[1, 14, 56\] as CHW",
        ),
        (
            {"input_shape": (12,), "example_shapes": (ExampleShape((3, 2, 2), "CHW"),)},
            r"example_shapes must say whether the input's own \[12\] is CHW or HWC",
        ),
        (
            {"example_shapes": (ExampleShape((784,), "flat"), ExampleShape((784,), "flat"))},
            "example_shapes has a shape twice",
        ),
        ({"output_shape": (2, 5)}, r"output_shape \[2, 5\]; a classification has one axis"),
        ({"labels": range(10)}, "labels range.*; accepted: a tuple of texts"),
        ({"labels": tuple(range(10))}, "labels .*; accepted: a tuple of texts"),
        ({"labels": ("a", "b")}, r"labels has 2 for an output_shape of \[10\]"),
        ({"labels": tuple("0123456788")}, "labels has one twice"),
        (
            {"build": nn.Sequential(nn.Linear(784, 10))},
            "build is an object of class Sequential; accepted: a func",
        ),
        ({"minimum": 2.0}, "minimum 2 is above maximum 1"),
        ({"minimum": "0"}, "minimum '0'; accepted: a number, or None"),
        ({"maximum": math.inf}, "must be finite; None is no bound"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(
    definition: ModelDefinition, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(ModelInvalid, match=says):
        check_definition(replace(definition, **change))


PICTURE = (ExampleShape((3, 2, 2), "CHW"), ExampleShape((2, 2, 3), "HWC"), ExampleShape((12,), "flat"))
GOOD: list[dict[str, Any]] = [
    {},
    {"input_shape": (), "example_shapes": (ExampleShape((), "flat"), ExampleShape((1,), "flat"))},
    {"input_shape": (3, 2, 2), "example_shapes": PICTURE},
    {"task": "regression", "labels": (), "output_shape": (2, 5)},
    {"labels": (), "minimum": None, "maximum": 1},
]


@pytest.mark.parametrize("change", GOOD)
def test_what_the_check_lets_through_is_a_signature_for_the_gateway(
    definition: ModelDefinition, change: dict[str, Any]
) -> None:
    interface = replace(definition, **change)
    check_interface(interface)
    assert Signature.parse(signature_document(interface, "1", {})).name == "digit_mlp"


def test_recipes_stand_by_their_names(definition: ModelDefinition) -> None:
    (recipe,) = definition.recipes.values()
    for recipes in ([recipe], {"rows": recipe.load}):
        with pytest.raises(
            ModelInvalid, match=r"recipes .*; accepted: a Recipe by the name of each data set"
        ):
            check_definition(replace(definition, recipes=recipes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epochs": 0}, r"recipes\['rows'\]\.epochs 0; accepted: whole numbers from 1"),
        ({"epochs": 1.5}, r"recipes\['rows'\]\.epochs 1\.5"),
        ({"epochs": None}, r"recipes\['rows'\]\.epochs None"),
        ({"batch_size": 0}, r"recipes\['rows'\]\.batch_size 0"),
        ({"patience": 0}, r"recipes\['rows'\]\.patience 0"),
        ({"learning_rate": 0.0}, r"recipes\['rows'\]\.learning_rate 0\.0; accepted: finite and above 0"),
        ({"learning_rate": math.nan}, r"recipes\['rows'\]\.learning_rate nan"),
        ({"learning_rate": None}, r"recipes\['rows'\]\.learning_rate None"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_named(
    definition: ModelDefinition, change: dict[str, Any], says: str
) -> None:
    recipe = replace(definition.recipes["rows"], **change)
    with pytest.raises(ModelInvalid, match=says):
        check_definition(replace(definition, recipes={"rows": recipe}))


def raises() -> nn.Sequential:
    raise ValueError("width 30")


@pytest.mark.parametrize(
    ("build", "error", "says"),
    [
        (
            lambda: nn.Sequential(nn.Linear(784, 10)),
            ModelInvalid,
            "must end in nn.Softmax, digit_mlp ends in Linear$",
        ),
        (
            lambda: nn.Sequential(nn.Sequential(nn.Linear(784, 10), nn.Softmax(dim=1))),
            ModelInvalid,
            "must end in nn.Softmax, digit_mlp ends in Sequential$",
        ),
        (lambda: nn.Linear(784, 10), ModelInvalid, "gives an object of class Linear, not an nn.Sequential"),
        (raises, TargetUnusable, "digit_mlp: build raises ValueError: width 30"),
        (
            lambda: nn.Sequential(nn.Linear(15, 10), nn.Softmax(dim=1)),
            LayerMisfit,
            "0 Linear expects 15 features, gets 784",
        ),
        (
            lambda: nn.Sequential(nn.Linear(784, 9), nn.Softmax(dim=1)),
            ModelInvalid,
            r"output_shape is \[10\], but 1 Softmax, the last layer, gives \[9\]",
        ),
    ],
)
def test_a_module_that_does_not_fit_is_named(
    definition: ModelDefinition, build: Callable[[], Any], error: type[BuildError], says: str
) -> None:
    with pytest.raises(error, match=says):
        check_definition(replace(definition, build=build))


def test_a_good_definition_tells_its_layers(definition: ModelDefinition) -> None:
    rows = check_definition(definition)
    assert [(row.name, row.output) for row in rows] == [
        ("h1", (32,)),
        ("relu1", (32,)),
        ("out", (10,)),
        ("softmax", (10,)),
    ]


class Greedy(nn.Module):
    """Asks for numbers."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values * float(values.sum())


def test_layers_that_cannot_be_followed_are_no_fault(definition: ModelDefinition) -> None:
    opaque = replace(definition, build=lambda: nn.Sequential(Greedy(), nn.Linear(784, 10), nn.Softmax(dim=1)))
    assert check_definition(opaque) == ()


@pytest.mark.parametrize("container", [nn.ModuleList([nn.Linear(784, 10)]), nn.ModuleDict({"h": nn.ReLU()})])
def test_a_container_in_place_of_a_sequential_is_explained(
    definition: ModelDefinition, container: nn.Module
) -> None:
    with pytest.raises(ModelInvalid, match=f"object of class {type(container).__name__}") as caught:
        check_definition(replace(definition, build=lambda: container))  # type: ignore[arg-type, return-value]
    assert "has no forward" in caught.value.hint
    assert "write nn.Sequential(" in caught.value.hint
