"""Odd or even, made from a trained digit_mlp by editing its layers instead of starting anew."""

from __future__ import annotations

from typing import cast

from torch import nn

from seqserve_models.datasets import load_digits, load_mnist, odd_or_even
from seqserve_models.definition import Derivation, Recipe
from seqserve_models.zoo.digit_mlp import DIGIT_MLP
from seqserve_models.zoo.digits import CLASSES, OF_DIGITS, OF_MNIST, PIXELS, digit_classifier

PARITIES = ("even", "odd")


def to_parity(digits: nn.Sequential) -> nn.Sequential:
    """A network of the same first layers that ends in two probabilities; h1 stays as it was trained."""
    network = cast("nn.Sequential", digits[:-1])  # [n, 784] -> [n, 10] logits; a slice keeps the names
    network[1] = nn.Sigmoid()  # [n, 32] in place of the ReLU, under its name
    network.append(nn.Linear(CLASSES, len(PARITIES)))  # [n, 2] logits, named after its position: "3"
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
            epochs=100,
            batch_size=128,
            learning_rate=1e-2,
            augmentation=OF_DIGITS,
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
