"""The embedded digits and MNIST's folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seqserve_models.dataset import DataOptions, hold_out, to_values
from seqserve_models.datasets import load_digits, load_line, load_mnist, odd_or_even
from seqserve_models.errors import DatasetBroken, DatasetMissing, SettingInvalid
from seqserve_models.rendering import render

MNIST_DIR = os.environ.get("SEQSERVE_MNIST_DIR")
WriteIdx = Callable[..., Path]


def test_embedded_digits_hold_out_a_fifth_of_every_class() -> None:
    digits = load_digits(DataOptions(seed=3))
    assert len(digits.train_targets) + len(digits.test_targets) == 1797
    held_out = np.bincount(digits.test_targets, minlength=10)
    whole = held_out + np.bincount(digits.train_targets, minlength=10)
    np.testing.assert_array_less(np.abs(held_out - whole / 5), 1)


def test_embedded_digits_look_like_mnist() -> None:
    digits = load_digits()
    images = digits.train_inputs
    assert images.shape[1:] == (28, 28)
    assert images.dtype == np.uint8
    assert images.max(axis=(1, 2)).min() > 200
    assert 0.10 < to_values(images).mean() < 0.18
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert not corners.any()


def test_the_seed_decides_what_is_held_out() -> None:
    labels = np.repeat(np.arange(10), 20)
    np.testing.assert_array_equal(hold_out(labels, 1), hold_out(labels, 1))
    assert (hold_out(labels, 1) != hold_out(labels, 2)).any()


def test_rendering_keeps_its_input_and_centres_the_ink() -> None:
    digits = np.zeros((1, 8, 8))
    digits[0, 1:5, 0:2] = 16
    before = digits.copy()
    image = render(digits)[0].astype(np.float64)
    np.testing.assert_array_equal(digits, before)
    assert abs(image.sum(axis=1) @ np.arange(28) / image.sum() - 13.5) < 1
    # The ink began in the leftmost column, and moves by no more than the margin.
    assert not image[:, :4].any()


def test_values_are_pixels_over_255_in_single_precision() -> None:
    pixels = np.arange(256, dtype=np.uint8)
    values = to_values(pixels)
    assert values.dtype == np.float32
    expected = [np.float32(pixel) / np.float32(255) for pixel in range(256)]
    np.testing.assert_array_equal(values, np.array(expected, np.float32))


def write_mnist(write_idx: WriteIdx, train: int = 3, test: int = 2) -> None:
    for part, count in (("train", train), ("t10k", test)):
        images = np.full((count, 28, 28), count, np.uint8)
        write_idx(f"{part}-images-idx3-ubyte", images)
        write_idx(f"{part}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8))


def test_mnist_comes_from_a_folder(tmp_path: Path, write_idx: WriteIdx) -> None:
    write_mnist(write_idx)
    digits = load_mnist(DataOptions(data_dir=tmp_path))
    assert digits.train_inputs.shape == (3, 28, 28)
    assert digits.test_targets.tolist() == [0, 1]
    assert digits.train_targets.dtype == np.int64


def test_mnist_without_a_folder_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissing) as caught:
        load_mnist(DataOptions())
    assert "--data-dir" in caught.value.hint


def test_more_images_than_labels_are_refused(tmp_path: Path, write_idx: WriteIdx) -> None:
    write_mnist(write_idx)
    write_idx("train-labels-idx1-ubyte", np.zeros(2, np.uint8))
    with pytest.raises(DatasetBroken, match="train has 3 images and 2 labels"):
        load_mnist(DataOptions(data_dir=tmp_path))


def test_a_label_that_is_no_digit_is_refused(tmp_path: Path, write_idx: WriteIdx) -> None:
    write_mnist(write_idx)
    write_idx("t10k-labels-idx1-ubyte", np.array([1, 10], np.uint8))
    with pytest.raises(DatasetBroken, match="t10k has the label 10"):
        load_mnist(DataOptions(data_dir=tmp_path))


def test_inputs_of_another_size_are_refused(tmp_path: Path, write_idx: WriteIdx) -> None:
    write_mnist(write_idx)
    write_idx("train-images-idx3-ubyte", np.zeros((3, 32, 32), np.uint8))
    with pytest.raises(DatasetBroken, match=r"\(32, 32\), expected \(28, 28\)"):
        load_mnist(DataOptions(data_dir=tmp_path))


@pytest.mark.parametrize("load", [load_digits, load_line])
@pytest.mark.parametrize("options", [DataOptions(data_dir=Path("here")), DataOptions(download=True)])
def test_a_data_set_that_needs_no_files_takes_none(
    load: Callable[[DataOptions], object], options: DataOptions
) -> None:
    with pytest.raises(SettingInvalid, match="comes with the package and takes no --d"):
        load(options)


def test_the_line_lies_near_its_true_weight_and_bias() -> None:
    line = load_line(DataOptions(seed=2))
    assert (len(line.train_inputs), len(line.test_inputs)) == (200, 50)
    x, y = line.train_inputs[:, 0], line.train_targets[:, 0]
    np.testing.assert_allclose(np.polyfit(x, y, 1), [0.7, 0.3], atol=0.01)
    assert 0 < np.abs(y - (0.7 * x + 0.3)).max() < 0.06


def test_the_same_images_are_odd_or_even() -> None:
    digits, parities = load_digits(), odd_or_even(load_digits)(DataOptions())
    np.testing.assert_array_equal(parities.test_inputs, digits.test_inputs)
    np.testing.assert_array_equal(parities.test_targets, digits.test_targets % 2)
    assert set(parities.train_targets) == {0, 1}


@pytest.mark.skipif(MNIST_DIR is None, reason="SEQSERVE_MNIST_DIR names no folder with MNIST's files")
def test_the_real_mnist_is_read_as_published() -> None:
    digits = load_mnist(DataOptions(data_dir=Path(MNIST_DIR or "")))
    assert digits.train_inputs.shape == (60_000, 28, 28)
    assert digits.test_inputs.shape == (10_000, 28, 28)
    assert digits.test_targets[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert to_values(digits.train_inputs).mean() == pytest.approx(0.1307, abs=1e-4)
