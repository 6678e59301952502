"""A small data set, an untrained model, and one archive that was trained for a moment."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seqserve_models.build import BuildResult, build
from seqserve_models.dataset import DataOptions, Dataset
from seqserve_models.definition import ModelDefinition, Recipe
from seqserve_models.plan import BuildSettings
from seqserve_models.zoo import find_model
from support.forked import forked_interpreters


def load_rows(options: DataOptions) -> Dataset:
    """Noise, with one bright row for each digit: 96 images to train on, 40 held out."""
    generator = np.random.default_rng(7)
    images = generator.integers(0, 100, (136, 28, 28), np.uint8)
    labels = generator.integers(0, 10, 136, np.int64)
    images[np.arange(136), 2 * labels] = 255
    return Dataset(images[:96], labels[:96], images[96:], labels[96:])


QUICK = Recipe(load=load_rows, epochs=2, batch_size=32, learning_rate=1e-3)


@pytest.fixture(scope="session", autouse=True)
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Builds take forks for fresh interpreters; see `real_interpreters` for those that must not."""
    with forked_interpreters(tmp_path_factory.mktemp("forks")):
        yield


@pytest.fixture
def real_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every interpreter is started, as it is outside of the tests."""
    monkeypatch.setattr("seqserve_models.interpreter.subprocess", subprocess)


@pytest.fixture
def definition() -> ModelDefinition:
    """digit_mlp with a training of a moment."""
    return replace(find_model("digit_mlp"), recipes={"rows": QUICK})


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """digit_mlp 1, trained for a moment; tests/e2e/test_readme.py has the whole training."""
    (result,) = build(["digit_mlp"], BuildSettings(output=tmp_path_factory.mktemp("store"), epochs=8))
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
