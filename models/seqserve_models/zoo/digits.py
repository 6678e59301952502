"""What every digit classifier of the zoo shares: its pictures, its labels, and how they are distorted."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from seqserve_models.augmentation import Augmentation
from seqserve_models.definition import Derivation, ExampleShape, ModelDefinition, Recipe

SIDE = 28
PIXELS = SIDE * SIDE
DIGITS = tuple("0123456789")
CLASSES = len(DIGITS)
# The embedded digits fill a square box and have one kind of pen. These distortions were chosen on MNIST's
# training images, so that a model reads digits that are wider, slanted and thinner as well.
OF_DIGITS = Augmentation(
    rotation_degrees=15,
    shift_pixels=1,
    log_scale=0.1,
    log_aspect=0.25,
    widening=0.12,
    shear=0.35,
    slant=0.12,
    bend_pixels=0.9,
    level=0.2,
    log_gain=1.5,
)
OF_MNIST = Augmentation(rotation_degrees=5, log_scale=0.05, shift_pixels=0.5, shear=0.05)
EXAMPLE_SHAPES = (
    ExampleShape((PIXELS,), "flat"),
    ExampleShape((SIDE, SIDE), "HW"),
    ExampleShape((1, SIDE, SIDE), "CHW"),
    ExampleShape((SIDE, SIDE, 1), "HWC"),
)


def digit_classifier(
    build: Callable[[], nn.Sequential],
    *,
    input_shape: tuple[int, ...],
    recipes: Mapping[str, Recipe],
    labels: tuple[str, ...] = DIGITS,
    derivation: Derivation | None = None,
) -> ModelDefinition:
    """The definition of a model that takes grey pictures of 28x28 and gives a probability for each label.

    It is named after the function that builds it. input_shape: its own, one of EXAMPLE_SHAPES.
    """
    return ModelDefinition(
        name=build.__name__,
        task="classification",
        build=build,
        input_name="image",
        input_shape=input_shape,
        output_name="probabilities",
        output_shape=(len(labels),),
        example_shapes=EXAMPLE_SHAPES,
        minimum=0.0,
        maximum=1.0,
        labels=labels,
        recipes=recipes,
        derivation=derivation,
    )
