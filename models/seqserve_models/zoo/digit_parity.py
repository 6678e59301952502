"""Odd or even, made from a trained digit_mlp by editing its layers instead of starting anew."""

from __future__ import annotations

from typing import cast

from torch import nn

from seqserve_models.augmentation import Augmentation
from seqserve_models.datasets import load_digits, load_mnist, odd_or_even
from seqserve_models.definition import Derivation, Recipe
from seqserve_models.zoo.digit_mlp import DIGIT_MLP, HIDDEN
from seqserve_models.zoo.digits import CLASSES, OF_MNIST, PIXELS, digit_classifier

PARITIES = ("even", "odd")
# h1 is frozen, and what is left is too small to make good for larger distortions.
GENTLE = Augmentation(rotation_degrees=8, shift_pixels=1, log_scale=0.08, shear=0.1)


def to_parity(digits: nn.Sequential) -> nn.Sequential:
    """A network of the same first layers that ends in two probabilities; h1 stays as it was trained."""
    network = cast("nn.Sequential", digits[:-1])  # [n, 784] -> [n, 10] logits; a slice keeps the names
    # What h1 gives was trained for a ReLU, and is so large that a Sigmoid alone would say 0 or 1 to it.
    network[1] = nn.Sequential(nn.BatchNorm1d(HIDDEN), nn.Sigmoid())  # [n, 32] under the ReLU's name
    network.append(nn.ReLU())  # [n, 10], named after its position: "3"
    network.append(nn.Linear(CLASSES, len(PARITIES)))  # [n, 2] logits
    network.append(nn.Softmax(dim=1))  # [n, 2] probabilities
    network[0].requires_grad_(requires_grad=False)
    return network


def digit_parity() -> nn.Sequential:
    """The same layers on a digit_mlp that was not trained."""
    return to_parity(DIGIT_MLP.build())


DIGIT_PARITY = digit_classifier(
    digit_parity,
    input_shape=(PIXELS,),
    labels=PARITIES,
    derivation=Derivation(DIGIT_MLP, to_parity),
    recipes={
        "digits": Recipe(
            load=odd_or_even(load_digits),
            epochs=150,
            batch_size=64,
            learning_rate=1e-2,
            augmentation=GENTLE,
        ),
        "mnist": Recipe(
            load=odd_or_even(load_mnist),
            epochs=5,
            batch_size=128,
            learning_rate=5e-3,
            augmentation=OF_MNIST,
        ),
    },
)
