"""Small random distortions of training images, so that a model learns digits and not positions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """Largest distortion of each kind; every image gets its own, uniform between -largest and +largest.

    log_scale: 0.1 is a tenth larger or smaller. shear: sideways pixels for each pixel of height.
    """

    rotation_degrees: float
    log_scale: float
    shift_pixels: float
    shear: float

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Distorted copies of images, FP32 [n, h, w]."""
        return augment(images, self, generator)


def augment(images: Tensor, largest: Augmentation, generator: torch.Generator) -> Tensor:
    """Distorted copies of images, FP32 [n, h, w] on any device; black comes in from outside."""
    transforms = _transforms(len(images), images.shape[-1], largest, generator)  # [n, 2, 3]
    stacked = images.unsqueeze(1)  # [n, 1, h, w]
    grid = functional.affine_grid(transforms.to(images.device), list(stacked.shape), align_corners=False)
    return functional.grid_sample(stacked, grid, align_corners=False).squeeze(1)  # [n, h, w]


def _transforms(count: int, width: int, largest: Augmentation, generator: torch.Generator) -> Tensor:
    """One affine map an image, [n, 2, 3], in the coordinates of affine_grid, which run from -1 to 1."""
    chance = torch.rand(5, count, generator=generator) * 2 - 1  # [5, n]
    angle = chance[0] * math.radians(largest.rotation_degrees)
    scale = torch.exp(chance[1] * largest.log_scale)
    shift = chance[2:4] * largest.shift_pixels * 2 / width
    cosine, sine, shear = torch.cos(angle) * scale, torch.sin(angle) * scale, chance[4] * largest.shear
    rows = (torch.stack([cosine, shear - sine, shift[0]], 1), torch.stack([sine, cosine, shift[1]], 1))
    return torch.stack(rows, 1)
