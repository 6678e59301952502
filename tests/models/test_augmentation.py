"""Distortions of training images."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from seqserve_models.augmentation import Augmentation, between_knots
from seqserve_models.zoo.digits import OF_DIGITS, OF_MNIST

MIDDLE = 13.5


def distorted(images: Tensor, largest: Augmentation, seed: int = 1) -> Tensor:
    return largest(images, torch.Generator().manual_seed(seed))


def bar(height: int = 16, width: int = 2, count: int = 200) -> Tensor:
    """Upright white bars in the middle, [n, 28, 28]."""
    images = torch.zeros(count, 28, 28)
    images[:, 14 - height // 2 : 14 + height // 2, 14 - width // 2 : 14 + width // 2] = 1
    return images


def centre_of(images: Tensor) -> tuple[Tensor, Tensor]:
    """Column and row of the centre of mass, [n] each."""
    _, height, width = images.shape
    mass = images.sum((1, 2))
    return images.sum(1) @ torch.arange(float(width)) / mass, images.sum(2) @ torch.arange(
        float(height)
    ) / mass


def spread_of(images: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviation of the ink across and down, [n] each."""
    across, down = centre_of(images)
    squares = [(torch.arange(28.0) - centre[:, None]) ** 2 for centre in (across, down)]  # [n, 28]
    mass = images.sum((1, 2))
    return (
        ((images.sum(1) * squares[0]).sum(1) / mass).sqrt(),
        ((images.sum(2) * squares[1]).sum(1) / mass).sqrt(),
    )


def test_nothing_allowed_changes_nothing() -> None:
    images = torch.rand(4, 28, 28)
    torch.testing.assert_close(distorted(images, Augmentation()), images, atol=1e-4, rtol=0)


@pytest.mark.parametrize("largest", [OF_DIGITS, OF_MNIST])
def test_the_same_generator_gives_the_same_distortions_and_the_input_stays(largest: Augmentation) -> None:
    images = torch.rand(4, 28, 28)
    before = images.clone()
    assert torch.equal(distorted(images, largest, 5), distorted(images, largest, 5))
    assert not torch.equal(distorted(images, largest, 5), distorted(images, largest, 6))
    assert torch.equal(images, before)


@pytest.mark.parametrize("largest", [OF_DIGITS, OF_MNIST])
def test_values_stay_within_their_range(largest: Augmentation) -> None:
    images = distorted(torch.rand(50, 28, 28), largest)
    assert images.shape == (50, 28, 28)
    assert images.min() >= 0
    assert images.max() <= 1


@pytest.mark.parametrize(
    "kind", [field.name for field in fields(Augmentation) if field.name not in ("level", "log_gain")]
)
def test_each_kind_alone_moves_ink(kind: str) -> None:
    assert (distorted(bar(), Augmentation(**{kind: 0.5})) - bar()).abs().max() > 0.01


def test_black_comes_in_from_outside() -> None:
    white = torch.ones(20, 28, 28)
    assert distorted(white, Augmentation(shift_pixels=8))[:, [0, -1]].min() == 0


def test_a_shift_stays_within_its_pixels() -> None:
    across, down = centre_of(distorted(bar(2), Augmentation(shift_pixels=2)))
    for places in (across, down):
        assert 1.5 < (places - MIDDLE).abs().max() <= 2.01


def test_widening_is_across_alone() -> None:
    before, after = spread_of(bar(16, 8)), spread_of(distorted(bar(16, 8), Augmentation(widening=0.25)))
    assert (after[0] / before[0]).mean() == pytest.approx(1.28, abs=0.05)
    assert (after[1] / before[1]).mean() == pytest.approx(1, abs=0.02)


def test_a_positive_slant_leans_the_upper_end_to_the_right() -> None:
    leaning = distorted(bar(), Augmentation(slant=0.5))
    upper, lower = centre_of(leaning[:, :14])[0], centre_of(leaning[:, 14:])[0]
    assert (upper - lower).mean() == pytest.approx(4, abs=0.5)


def test_bends_differ_within_an_image() -> None:
    bent = distorted(bar(20), Augmentation(bend_pixels=1.5))
    places = (bent * torch.arange(28.0)).sum(2) / bent.sum(2).clamp(
        min=1e-6
    )  # [n, 28]: the column of each row
    assert places[:, 6:22].std(dim=1).mean() > 0.3


def test_another_contrast_makes_strokes_thinner_and_thicker() -> None:
    grey = torch.linspace(0, 1, 28).expand(200, 28, 28)
    inks = distorted(grey, Augmentation(level=0.3, log_gain=2)).mean((1, 2))
    assert inks.min() < 0.4
    assert inks.max() > 0.6


def test_bends_are_those_of_a_bicubic_surface() -> None:
    knots = torch.rand(3, 2, 4, 4)
    expected = functional.interpolate(knots, (28, 20), mode="bicubic", align_corners=True)
    torch.testing.assert_close(between_knots(28).T @ knots @ between_knots(20), expected)
