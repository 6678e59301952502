"""Sequentials inside a Sequential: layers are addressed by the path of their names, `seq_1.0`."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from seqserve_models.datasets import load_digits, load_mnist
from seqserve_models.definition import Recipe
from seqserve_models.zoo.digits import CLASSES, OF_DIGITS, OF_MNIST, PIXELS, digit_classifier


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


DIGIT_NESTED = digit_classifier(
    digit_nested,
    input_shape=(PIXELS,),
    recipes={
        "digits": Recipe(
            load=load_digits,
            epochs=200,
            batch_size=128,
            learning_rate=5e-3,
            augmentation=OF_DIGITS,
        ),
        "mnist": Recipe(
            load=load_mnist,
            epochs=20,
            batch_size=128,
            learning_rate=3e-3,
            augmentation=OF_MNIST,
        ),
    },
)
