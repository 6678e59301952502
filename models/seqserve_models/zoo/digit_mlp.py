"""The smallest useful digit classifier: two linear layers on the pixels of a 28x28 image."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from seqserve_models.datasets import load_digits, load_mnist
from seqserve_models.definition import Recipe
from seqserve_models.zoo.digits import CLASSES, OF_DIGITS, OF_MNIST, PIXELS, digit_classifier

HIDDEN = 32


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


DIGIT_MLP = digit_classifier(
    digit_mlp,
    input_shape=(PIXELS,),
    recipes={
        "digits": Recipe(
            load=load_digits,
            epochs=300,
            batch_size=256,
            learning_rate=2e-2,
            augmentation=OF_DIGITS,
        ),
        "mnist": Recipe(
            load=load_mnist,
            epochs=20,
            batch_size=128,
            learning_rate=5e-3,
            augmentation=OF_MNIST,
        ),
    },
)
