"""Random distortions of training images, so that a model learns digits and not the way they were drawn."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

KNOTS = 4  # of the grid, in both directions, whose points a bend moves


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Takes grey images, FP32 [n, h, w] from 0 to 1 on any device, and gives distorted copies of them.

    Every image gets its own distortion of each kind, uniform between -largest and +largest unless said
    otherwise; black comes in from outside.

    rotation_degrees. shift_pixels: in both directions. log_scale: 0.1 is a tenth larger or smaller.
    log_aspect: 0.1 is a tenth wider or narrower, around widening. shear: sideways pixels for each pixel of
    height, around slant, which is positive where the upper end leans to the right.
    bend_pixels: standard deviation of smooth displacements.
    level, log_gain: the contrast rises by a factor of 1 to exp(log_gain) around a grey level of 0.5 ± level,
    which makes strokes thinner or thicker and their edges harder, and may make a black ground a little grey.
    """

    rotation_degrees: float = 0.0
    shift_pixels: float = 0.0
    log_scale: float = 0.0
    log_aspect: float = 0.0
    widening: float = 0.0
    shear: float = 0.0
    slant: float = 0.0
    bend_pixels: float = 0.0
    level: float = 0.0
    log_gain: float = 0.0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Distorted copies [n, h, w]; all chance comes from the generator, which is the CPU's."""
        grid = self._grid(images, generator).to(images.device).permute(0, 2, 3, 1)  # [n, h, w, 2]
        moved = functional.grid_sample(images.unsqueeze(1), grid, align_corners=False).squeeze(1)  # [n, h, w]
        return self._redrawn(moved, generator) if self.log_gain else moved

    def _grid(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Where each pixel comes from, [n, 2, h, w]: x and y, as grid_sample has them from -1 to 1."""
        count, height, width = images.shape
        maps = self._affine_maps(count, width, generator)  # [n, 2, 3]
        grid = (maps @ pixel_centres(height, width)).reshape(count, 2, height, width)
        if not self.bend_pixels:
            return grid
        knots = torch.randn(count, 2, KNOTS, KNOTS, generator=generator) * (self.bend_pixels * 2 / width)
        return grid + between_knots(height).T @ knots @ between_knots(width)

    def _affine_maps(self, count: int, width: int, generator: torch.Generator) -> Tensor:
        """One map an image from where a pixel goes to where it comes from, [n, 2, 3]."""
        chance = torch.rand(6, count, generator=generator) * 2 - 1  # [6, n]
        angle = chance[0] * math.radians(self.rotation_degrees)
        scale = torch.exp(chance[1] * self.log_scale)
        shift = chance[2:4] * self.shift_pixels * 2 / width
        shear = chance[4] * self.shear + self.slant
        aspect = torch.exp(chance[5] * self.log_aspect + self.widening)
        cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
        across = (cosine + shear * sine) / aspect, (shear * cosine - sine) / aspect, shift[0]
        down = sine, cosine, shift[1]
        return torch.stack([torch.stack(across, 1), torch.stack(down, 1)], 1)

    def _redrawn(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The same strokes, thinner or thicker."""
        chance = torch.rand(2, len(images), 1, 1, generator=generator).to(images.device)  # [2, n, 1, 1]
        level = 0.5 + (chance[0] * 2 - 1) * self.level
        gain = torch.exp(chance[1] * self.log_gain)
        return ((images - level) * gain + 0.5).clamp(0, 1)


@functools.cache
def pixel_centres(height: int, width: int) -> Tensor:
    """x, y and 1 of every pixel, row by row, [3, h·w], from -1 to 1 between the outer edges."""
    # One product with these takes a twentieth of the time of affine_grid, whose planes lie interleaved.
    down, across = ((torch.arange(size) * 2 + 1) / size - 1 for size in (height, width))
    y, x = torch.meshgrid(down, across, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)]).flatten(1)


@functools.cache
def between_knots(size: int) -> Tensor:
    """Weights of the knots at each of `size` pixels along one axis, [KNOTS, size], bicubic."""
    # Two products with these take a tenth of the time of interpolating every image.
    one_each = torch.eye(KNOTS).reshape(1, KNOTS, 1, KNOTS)
    return functional.interpolate(one_each, (1, size), mode="bicubic", align_corners=True).reshape(
        KNOTS, size
    )
