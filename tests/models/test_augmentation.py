"""Distortions of training images."""

from __future__ import annotations

import torch

from seqserve_models.augmentation import Augmentation, augment

NOTHING = Augmentation(rotation_degrees=0, log_scale=0, shift_pixels=0, shear=0)
SHIFT = Augmentation(rotation_degrees=0, log_scale=0, shift_pixels=2, shear=0)


def test_nothing_allowed_changes_nothing() -> None:
    images = torch.rand(4, 28, 28)
    torch.testing.assert_close(augment(images, NOTHING, torch.Generator()), images, atol=1e-4, rtol=0)


def test_the_same_generator_gives_the_same_distortions_and_the_input_stays() -> None:
    images = torch.rand(4, 28, 28)
    before = images.clone()
    first, again = (augment(images, SHIFT, torch.Generator().manual_seed(5)) for _ in range(2))
    other = augment(images, SHIFT, torch.Generator().manual_seed(6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(images, before)


def test_a_shift_stays_within_its_pixels() -> None:
    images = torch.zeros(200, 28, 28)
    images[:, 14, 14] = 1
    shifted = augment(images, SHIFT, torch.Generator().manual_seed(1))
    rows = shifted.sum(2) @ torch.arange(28.0)
    assert 1.5 < (rows - 14).abs().max() <= 2.001
