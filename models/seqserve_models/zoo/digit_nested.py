"""Sequentials inside a Sequential: layers are addressed by the path of their names, `seq_1.0`."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from seqserve_models.augmentation import Augmentation
from seqserve_models.definition import ExampleShape, ModelDefinition, Recipe

PIXELS = 28 * 28
CLASSES = 10


def digit_nested() -> nn.Sequential:
    """784 pixels to 10 probabilities; the first layer's weights are `seq_1.0.weight`."""
    return nn.Sequential(
        OrderedDict(  # [n, 784]
            seq_1=nn.Sequential(
                nn.Linear(PIXELS, 64),  # [n, 64]
                nn.ReLU(),  # [n, 64]
            ),
            seq_2=nn.Sequential(
                nn.Linear(64, 32),  # [n, 32]
                nn.ReLU(),  # [n, 32]
            ),
            out=nn.Linear(32, CLASSES),  # [n, 10] logits
            softmax=nn.Softmax(dim=1),  # [n, 10] probabilities
        )
    )


DIGIT_NESTED = ModelDefinition(
    name="digit_nested",
    task="classification",
    build=digit_nested,
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
            learning_rate=5e-3,
            augmentation=Augmentation(rotation_degrees=10, log_scale=0.1, shift_pixels=1, shear=0.1),
        ),
        "mnist": Recipe(
            epochs=20,
            batch_size=128,
            learning_rate=3e-3,
            augmentation=Augmentation(rotation_degrees=5, log_scale=0.05, shift_pixels=0.5, shear=0.05),
        ),
    },
)
