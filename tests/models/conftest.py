"""A small data set, an untrained model, and one archive built with the default settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seqserve_models.build import BuildResult, build
from seqserve_models.dataset import DataOptions, Dataset
from seqserve_models.definition import ModelDefinition, Recipe
from seqserve_models.plan import BuildSettings
from seqserve_models.zoo import find_model


def load_rows(options: DataOptions) -> Dataset:
    """Noise, with one bright row for each digit: 96 images to train on, 40 held out."""
    generator = np.random.default_rng(7)
    images = generator.integers(0, 100, (136, 28, 28), np.uint8)
    labels = generator.integers(0, 10, 136, np.int64)
    images[np.arange(136), 2 * labels] = 255
    return Dataset(images[:96], labels[:96], images[96:], labels[96:])


QUICK = Recipe(load=load_rows, epochs=2, batch_size=32, learning_rate=1e-3)


@pytest.fixture
def definition() -> ModelDefinition:
    """digit_mlp with a training of a moment."""
    return replace(find_model("digit_mlp"), recipes={"rows": QUICK})


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """digit_mlp 1, built with the default settings."""
    (result,) = build(["digit_mlp"], BuildSettings(output=tmp_path_factory.mktemp("store")))
    return result


@pytest.fixture
def write_idx(tmp_path: Path) -> Callable[..., Path]:
    """Writes an IDX file and returns its path."""

    def write(name: str, values: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Path:
        path = tmp_path / name
        sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
        path.write_bytes(bytes((0, 0, 8, values.ndim)) + sizes + values.tobytes())
        return path

    return write


@pytest.fixture
def without_clean_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """test_clean_check.py is about that step, which takes seconds and is the same in every build here."""
    monkeypatch.setattr("seqserve_models.build.load_clean", lambda *_: None)
