"""Images of digits with their labels, from scikit-learn or from MNIST's files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seqserve_models.errors import DatasetBroken, DatasetMissing, UnknownDataset
from seqserve_models.idx import read_idx
from seqserve_models.rendering import render

DATASETS = ("digits", "mnist")
CLASSES = 10
IMAGE_SHAPE = (28, 28)
HELD_OUT_FRACTION = 0.2

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DigitSet:
    """Images UINT8 [n, 28, 28], 0 black to 255 white; labels int64 [n], 0 to 9."""

    name: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


def load_digit_set(name: str, *, data_dir: Path | None = None, seed: int = 0) -> DigitSet:
    """A data set by name; the seed decides what `digits` holds out.

    Raises UnknownDataset, DatasetMissing, DatasetBroken.
    """
    if name == "digits":
        return load_embedded(seed)
    if name == "mnist":
        if data_dir is None:
            raise DatasetMissing("mnist needs a folder with its IDX files", hint="add --data-dir DIR")
        return load_mnist(data_dir)
    raise UnknownDataset(f"there is no data set {name!r}", hint=f"known: {', '.join(DATASETS)}")


def load_embedded(seed: int) -> DigitSet:
    """scikit-learn's 1,797 digits at 28x28; a fifth of every class is held out."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  # takes a second, and MNIST does without

    digits = load_digits()
    images, labels = render(digits.images), digits.target.astype(np.int64)
    held_out = hold_out(labels, seed)
    return DigitSet("digits", images[~held_out], labels[~held_out], images[held_out], labels[held_out])


def hold_out(labels: Labels, seed: int) -> npt.NDArray[np.bool_]:
    """True [n] for a fifth of the examples of each class, chosen by the seed."""
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        held_out[members[: round(len(members) * HELD_OUT_FRACTION)]] = True
    return held_out


def load_mnist(folder: Path) -> DigitSet:
    """MNIST's four IDX files, each gzipped or plain. Raises DatasetMissing, DatasetBroken."""
    train_images, train_labels = _read_part(folder, "train")
    test_images, test_labels = _read_part(folder, "t10k")
    return DigitSet("mnist", train_images, train_labels, test_images, test_labels)


def _read_part(folder: Path, part: str) -> tuple[Images, Labels]:
    images = read_idx(folder, f"{part}-images-idx3-ubyte", rank=3)
    labels = read_idx(folder, f"{part}-labels-idx1-ubyte", rank=1).astype(np.int64)
    if images.shape[1:] != IMAGE_SHAPE:
        raise DatasetBroken(f"{folder}: {part} images are {images.shape[1:]}, expected {IMAGE_SHAPE}")
    if len(images) != len(labels):
        raise DatasetBroken(f"{folder}: {part} has {len(images)} images and {len(labels)} labels")
    if labels.max() >= CLASSES:
        raise DatasetBroken(f"{folder}: {part} has the label {labels.max()}; accepted: 0 to {CLASSES - 1}")
    return images, labels


def to_values(images: Images) -> npt.NDArray[np.float32]:
    """Pixels UINT8, any shape, as FP32 from 0 to 1: this expression, everywhere in the product."""
    return images.astype(np.float32) / np.float32(255)
