"""The whole story of a model, with its endings."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from seqserve_models.build import BuildResult, build, run_plan
from seqserve_models.definition import ModelDefinition
from seqserve_models.errors import ExportDiffers, TrainingDiverged, UnknownModel, VersionExists
from seqserve_models.export import export
from seqserve_models.plan import make_plan
from seqserve_models.train import initialise

MNIST_DIR = os.environ.get("SEQSERVE_MNIST_DIR")
BUILD = """
from pathlib import Path
from seqserve_models.build import build
build(["digit_mlp"], output=Path("store"), epochs=2, seed=4, version="6")
"""


def test_the_default_settings_give_a_good_model(built: BuildResult) -> None:
    assert built.accuracy >= 0.97
    assert built.max_delta <= 2e-5
    assert built.confusion.sum() == built.test_examples == 359
    assert np.trace(built.confusion) / built.test_examples == built.accuracy
    assert hashlib.sha256(built.path.read_bytes()).hexdigest() == built.sha256


def test_two_builds_at_once_in_two_folders_are_byte_equal(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "another place"]
    running = []
    for folder in folders:
        folder.mkdir()
        running.append(subprocess.Popen([sys.executable, "-c", BUILD], cwd=folder))
    assert [process.wait() for process in running] == [0, 0]
    for name in ("digit_mlp-6.mar", "digit_mlp-6.mar.sha256"):
        first, second = ((folder / "store" / name).read_bytes() for folder in folders)
        assert first == second


def test_a_version_is_built_once(tmp_path: Path) -> None:
    (first,) = build(["digit_mlp"], output=tmp_path, epochs=1)
    content = first.path.read_bytes()
    with pytest.raises(VersionExists):
        build(["digit_mlp"], output=tmp_path, epochs=1, version="1", seed=1)
    (second,) = build(["digit_mlp"], output=tmp_path, epochs=1, seed=1)
    assert (first.version, second.version) == ("1", "2")
    assert first.path.read_bytes() == content
    assert second.sha256 != first.sha256


def test_a_training_to_nan_leaves_the_store_untouched(tmp_path: Path, definition: ModelDefinition) -> None:
    hasty = replace(definition.recipes["digits"], learning_rate=1e30)
    plan = make_plan(replace(definition, recipes={"digits": hasty}), output=tmp_path / "store")
    threads = torch.get_num_threads()
    with pytest.raises(TrainingDiverged):
        run_plan(plan)
    assert not (tmp_path / "store").exists()
    assert torch.get_num_threads() == threads


def test_an_export_that_differs_leaves_the_store_untouched(
    tmp_path: Path, definition: ModelDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export_another(module: nn.Module, name: str) -> bytes:
        return export(initialise(definition, seed=99), name)

    monkeypatch.setattr("seqserve_models.build.export", export_another)
    with pytest.raises(ExportDiffers):
        run_plan(make_plan(definition, output=tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_an_unknown_model_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="no model 'digit_mpl'") as caught:
        build(["digit_mlp", "digit_mpl"], output=tmp_path)
    assert "digit_mlp" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
@pytest.mark.skipif(MNIST_DIR is None, reason="SEQSERVE_MNIST_DIR names no folder with MNIST's files")
def test_mnist_is_learned_to_97_percent(tmp_path: Path) -> None:
    (result,) = build(["digit_mlp"], output=tmp_path, dataset="mnist", data_dir=Path(MNIST_DIR or ""))
    assert result.accuracy >= 0.97
    assert result.test_examples == 10_000
