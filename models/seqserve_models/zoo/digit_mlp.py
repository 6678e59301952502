"""The smallest useful digit classifier: two linear layers on the pixels of a 28x28 image."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from seqserve_models.augmentation import Augmentation
from seqserve_models.definition import ExampleShape, ModelDefinition, Recipe

PIXELS = 28 * 28
HIDDEN = 32
CLASSES = 10


def digit_mlp() -> nn.Sequential:
    """784 pixels to 10 probabilities."""
    return nn.Sequential(
        OrderedDict(  # [n, 784]
            h1=nn.Linear(PIXELS, HIDDEN),  # [n, 32]
            relu1=nn.ReLU(),  # [n, 32]
            out=nn.Linear(HIDDEN, CLASSES),  # [n, 10] logits
            softmax=nn.Softmax(dim=1),  # [n, 10] probabilities
        )
    )


def digit_mlp_by_position() -> nn.Sequential:
    """The same network, its layers numbered: the first one's weights are `0.weight`, not `h1.weight`."""
    return nn.Sequential(  # [n, 784]
        nn.Linear(PIXELS, HIDDEN),  # [n, 32]
        nn.ReLU(),  # [n, 32]
        nn.Linear(HIDDEN, CLASSES),  # [n, 10] logits
        nn.Softmax(dim=1),  # [n, 10] probabilities
    )


DIGIT_MLP = ModelDefinition(
    name="digit_mlp",
    task="classification",
    build=digit_mlp,
    input_name="image",
    input_shape=(PIXELS,),
    output_name="probabilities",
    output_shape=(CLASSES,),
    example_shapes=(
        ExampleShape((PIXELS,), "flat"),
        ExampleShape((28, 28), "HW"),
        ExampleShape((1, 28, 28), "CHW"),
        ExampleShape((28, 28, 1), "HWC"),
    ),
    minimum=0.0,
    maximum=1.0,
    labels=tuple(str(digit) for digit in range(CLASSES)),
    max_batch_size=256,
    default_dataset="digits",
    recipes={
        "digits": Recipe(
            epochs=60,
            batch_size=64,
            learning_rate=8e-3,
            augmentation=Augmentation(rotation_degrees=10, log_scale=0.1, shift_pixels=1, shear=0.1),
        ),
        "mnist": Recipe(
            epochs=20,
            batch_size=128,
            learning_rate=5e-3,
            augmentation=Augmentation(rotation_degrees=5, log_scale=0.05, shift_pixels=0.5, shear=0.05),
        ),
    },
)
