"""A convolutional digit classifier around a reusable block of three Sequentials."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from seqserve_models.datasets import load_digits, load_mnist
from seqserve_models.definition import Recipe
from seqserve_models.zoo.digits import CLASSES, OF_DIGITS, OF_MNIST, SIDE, digit_classifier

SQUEEZE = 4


def bottleneck(channels_in: int, channels: int) -> nn.Sequential:
    """A 3x3 convolution on a quarter of the channels, between two of 1x1; height and width stay.

    Takes [n, channels_in, h, w], gives [n, channels, h, w]. Raises ValueError for widths that do not fit.
    """
    if channels_in < 1:
        raise ValueError(f"channels_in {channels_in}; accepted: at least 1")
    if channels < SQUEEZE or channels % SQUEEZE:
        raise ValueError(f"channels {channels}; accepted: {SQUEEZE} or more, divisible by {SQUEEZE}")
    inner = channels // SQUEEZE  # `/` would give a float, which no layer takes
    return nn.Sequential(
        OrderedDict(  # [n, channels_in, h, w]
            reduce=convolution(channels_in, inner, kernel=1),  # [n, channels / 4, h, w]
            spatial=convolution(inner, inner, kernel=3),  # [n, channels / 4, h, w]
            expand=convolution(inner, channels, kernel=1),  # [n, channels, h, w]
        )
    )


def convolution(channels_in: int, channels: int, *, kernel: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU: [n, channels_in, h, w] to [n, channels, h, w]; `kernel` is odd."""
    return nn.Sequential(
        # Batch norm adds a bias of its own.
        nn.Conv2d(channels_in, channels, kernel, padding=kernel // 2, bias=False),  # [n, channels, h, w]
        nn.BatchNorm2d(channels),  # [n, channels, h, w]
        nn.ReLU(),  # [n, channels, h, w]
    )


def digit_bottleneck() -> nn.Sequential:
    """A grey image of 28x28 to 10 probabilities."""
    return nn.Sequential(
        OrderedDict(  # [n, 1, 28, 28]
            stem=nn.Conv2d(1, 16, kernel_size=4, stride=2, padding=1),  # [n, 16, 14, 14]
            block1=bottleneck(16, 32),  # [n, 32, 14, 14]
            pool1=nn.MaxPool2d(2),  # [n, 32, 7, 7]
            block2=bottleneck(32, 64),  # [n, 64, 7, 7]
            pool2=nn.MaxPool2d(2),  # [n, 64, 3, 3]
            flatten=nn.Flatten(),  # [n, 576]
            out=nn.Linear(64 * 3 * 3, CLASSES),  # [n, 10] logits
            softmax=nn.Softmax(dim=1),  # [n, 10] probabilities
        )
    )


DIGIT_BOTTLENECK = digit_classifier(
    digit_bottleneck,
    input_shape=(1, SIDE, SIDE),
    recipes={
        "digits": Recipe(
            load=load_digits,
            epochs=40,
            batch_size=64,
            learning_rate=5e-3,
            augmentation=OF_DIGITS,
        ),
        "mnist": Recipe(
            load=load_mnist,
            epochs=8,
            batch_size=128,
            learning_rate=5e-3,
            augmentation=OF_MNIST,
        ),
    },
)
