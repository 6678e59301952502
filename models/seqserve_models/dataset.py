"""Examples to train on and examples to judge by, as a recipe loads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]


def _tell_nobody(text: str) -> None:
    """Nothing."""


@dataclass(frozen=True)
class DataOptions:
    """What a build asks of a data set: `--seed`, `--data-dir`, `--download`.

    tell: takes a line for whoever waits, where loading is long.
    """

    seed: int = 0
    data_dir: Path | None = None
    download: bool = False
    tell: Callable[[str], None] = field(default=_tell_nobody, compare=False)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs with the answers that are wanted; the model never learns from those of the test.

    Inputs [n, *example]: FP32 values, or UINT8 pixels of images, which become pixel / 255. The example's
    shape is one that the model accepts. Targets: int64 [n], the number of the class; of a regression
    FP32 [n, *output].
    """

    train_inputs: npt.NDArray[Any]
    train_targets: npt.NDArray[Any]
    test_inputs: npt.NDArray[Any]
    test_targets: npt.NDArray[Any]


def to_values(inputs: npt.NDArray[Any]) -> Values:
    """FP32 as it is, UINT8 pixels as FP32 from 0 to 1: this expression, everywhere in the product."""
    if inputs.dtype == np.uint8:
        return inputs.astype(np.float32) / np.float32(255)
    return inputs.astype(np.float32, copy=False)


def hold_out(classes: Classes, seed: int, fraction: float = 0.2) -> npt.NDArray[np.bool_]:
    """True [n] for a fraction of the examples of each class, chosen by the seed."""
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(classes), np.bool_)
    for number in np.unique(classes):
        members = generator.permutation(np.flatnonzero(classes == number))
        held_out[members[: round(len(members) * fraction)]] = True
    return held_out
