"""scikit-learn's 8x8 digits, drawn as MNIST draws: 28x28 bytes, the ink centred, thin and bright."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

SIDE = 28
INK_SIDE = 20  # MNIST's digits fill a box of 20x20
MARGIN = (SIDE - INK_SIDE) // 2
SOURCE_MAXIMUM = 16  # each source pixel counts the ink in a block of 4x4
# Enlarged strokes are wide and grey; MNIST's are thin with a white core.
CONTRAST = 2.0
DARKEN = 0.6


def render(digits: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Digits [n, 8, 8], 0 to 16, as UINT8 [n, 28, 28], 0 to 255."""
    small = torch.from_numpy(digits.astype(np.float32) / SOURCE_MAXIMUM).unsqueeze(1)  # [n, 1, 8, 8]
    large = functional.interpolate(small, size=(INK_SIDE, INK_SIDE), mode="bicubic", align_corners=False)
    ink = (large.squeeze(1) * CONTRAST - DARKEN).clamp(0, 1).numpy()  # [n, 20, 20]
    pixels = np.rint(ink * 255).astype(np.uint8)
    framed = np.pad(pixels, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))  # [n, 28, 28]
    return np.stack([_centred(image) for image in framed])


def _centred(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """One image [28, 28], its centre of mass moved to the middle as far as the margin allows."""
    positions = np.arange(SIDE)
    middle = (SIDE - 1) / 2
    mass = image.sum()
    shifts = (middle - image.sum(axis=other) @ positions / mass for other in (1, 0))
    down, right = (int(np.clip(np.rint(shift), -MARGIN, MARGIN)) for shift in shifts)
    return np.roll(image, (down, right), axis=(0, 1))
