"""The data sets that come with the package: `digits`, `mnist` and `line`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from seqserve_models.dataset import Classes, DataOptions, Dataset, Pixels, hold_out
from seqserve_models.errors import DatasetBroken, DatasetMissing, SettingInvalid
from seqserve_models.idx import read_idx
from seqserve_models.mnist_download import download_mnist
from seqserve_models.rendering import render
from seqserve_models.transfer import StepTransfer

CLASSES = 10
IMAGE_SHAPE = (28, 28)
LINE_EXAMPLES = 250
LINE_WEIGHT, LINE_BIAS, LINE_NOISE = 0.7, 0.3, 0.01


def load_digits(options: DataOptions = DataOptions()) -> Dataset:  # noqa: B008 - it is immutable
    """scikit-learn's 1,797 digits, UINT8 [n, 28, 28], labels 0 to 9; a fifth of every class is held out."""
    from sklearn.datasets import load_digits as load_embedded  # noqa: PLC0415 - takes a second

    _refuse_files(options, "digits")
    digits = load_embedded()
    images, labels = render(digits.images), digits.target.astype(np.int64)
    held_out = hold_out(labels, options.seed)
    return Dataset(images[~held_out], labels[~held_out], images[held_out], labels[held_out])


def load_mnist(options: DataOptions) -> Dataset:
    """MNIST's four IDX files, each gzipped or plain: UINT8 [n, 28, 28], labels 0 to 9.

    Raises DatasetMissing, DatasetBroken, DownloadFailed.
    """
    if options.data_dir is None:
        raise DatasetMissing(
            "mnist needs a folder with its IDX files",
            hint="add --data-dir DIR, and --download to have them fetched into it",
        )
    if options.download:
        download_mnist(options.data_dir, progress=StepTransfer(options.tell))
    return Dataset(*_read_part(options.data_dir, "train"), *_read_part(options.data_dir, "t10k"))


def load_line(options: DataOptions) -> Dataset:
    """Points near y = 0.7·x + 0.3 for x from 0 to 1: FP32 [n, 1] both, a fifth of them held out."""
    _refuse_files(options, "line")
    generator = np.random.default_rng(options.seed)
    x = np.linspace(0, 1, LINE_EXAMPLES, dtype=np.float32)[:, np.newaxis]  # [n, 1]
    noise = generator.normal(0, LINE_NOISE, x.shape).astype(np.float32)
    y = np.float32(LINE_WEIGHT) * x + np.float32(LINE_BIAS) + noise  # [n, 1]
    held_out = hold_out(np.zeros(len(x), np.int64), options.seed)
    return Dataset(x[~held_out], y[~held_out], x[held_out], y[held_out])


def odd_or_even(load: Callable[[DataOptions], Dataset]) -> Callable[[DataOptions], Dataset]:
    """The same images with other targets: 0 where the digit is even, 1 where it is odd."""

    def load_parities(options: DataOptions) -> Dataset:
        digits = load(options)
        train, test = digits.train_targets % 2, digits.test_targets % 2
        return replace(digits, train_targets=train, test_targets=test)

    return load_parities


def _refuse_files(options: DataOptions, name: str) -> None:
    if options.data_dir is not None or options.download:
        given = "--data-dir" if options.data_dir is not None else "--download"
        raise SettingInvalid(f"{name} comes with the package and takes no {given}", hint="leave it out")


def _read_part(folder: Path, part: str) -> tuple[Pixels, Classes]:
    images = read_idx(folder, f"{part}-images-idx3-ubyte", rank=3)
    labels = read_idx(folder, f"{part}-labels-idx1-ubyte", rank=1).astype(np.int64)
    if images.shape[1:] != IMAGE_SHAPE:
        raise DatasetBroken(f"{folder}: {part} images are {images.shape[1:]}, expected {IMAGE_SHAPE}")
    if len(images) != len(labels):
        raise DatasetBroken(f"{folder}: {part} has {len(images)} images and {len(labels)} labels")
    if labels.max() >= CLASSES:
        raise DatasetBroken(f"{folder}: {part} has the label {labels.max()}; accepted: 0 to {CLASSES - 1}")
    return images, labels
