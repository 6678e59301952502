"""Five digits that the model has not seen, and how they look in a terminal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.console import Console

from seqserve_models import DataOptions
from seqserve_models.datasets import load_digits

PixelArray = npt.NDArray[np.uint8]
INK_THRESHOLD = 100  # of 255
BRAILLE = 0x2800
BRAILLE_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
SEED = 0  # of the build, so that the held-out fifth is the same


@dataclass(frozen=True)
class Digits:
    """images: UINT8 [n, 28, 28], white on black; labels: what they show."""

    images: PixelArray
    labels: list[int]


def held_out_digits(count: int) -> Digits:
    """The first of the held-out digits, each another number."""
    digits = load_digits(DataOptions(seed=SEED))
    _, first = np.unique(digits.test_targets, return_index=True)
    chosen = np.sort(first)[:count]
    return Digits(digits.test_inputs[chosen], [int(label) for label in digits.test_targets[chosen]])


def draw(console: Console, digits: Digits) -> None:
    """The digits side by side in Braille patterns, whose characters have 2 by 4 dots."""
    console.print(f"\nheld-out digits: {', '.join(map(str, digits.labels))}")
    for top in range(0, digits.images.shape[1], 4):
        lines = digits.images[:, top : top + 4] > INK_THRESHOLD  # [n, 4, 28]
        console.print(" ".join(_braille(line) for line in lines), highlight=False)


def _braille(dots: npt.NDArray[np.bool_]) -> str:
    """Dots [4, width] as width / 2 characters. Source of the bits: Unicode, block U+2800."""
    pairs = dots.reshape(4, -1, 2).transpose(1, 0, 2)  # [width / 2, 4, 2]
    return "".join(chr(BRAILLE + int((pair * BRAILLE_BITS).sum())) for pair in pairs)
