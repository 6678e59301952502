"""A run of the build: what it makes, in which versions, and what stops it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from seqserve.archive import read_archive
from seqserve.trust import UNCHECKED
from seqserve_models.build import BuildResult, build, run_plans
from seqserve_models.definition import ModelDefinition
from seqserve_models.errors import (
    ExportDiffers,
    ExportFailed,
    ModelInvalid,
    TrainingDiverged,
    UnknownModel,
    VersionExists,
)
from seqserve_models.export import export
from seqserve_models.members import read_zip
from seqserve_models.plan import BuildSettings, make_plans
from seqserve_models.source import Source
from seqserve_models.target import Target
from seqserve_models.train import initialise
from support.building import planned

MNIST_DIR = os.environ.get("SEQSERVE_MNIST_DIR")


FOLDERS = ("one", "another place")
TWO_BUILDS = """
import sys
from pathlib import Path
from unittest import mock
from seqserve_models.build import build
from seqserve_models.plan import BuildSettings
with mock.patch("seqserve_models.build.load_clean"):
    build(["line"], BuildSettings(output=Path("..", "of both"), epochs=3, seed=int(sys.argv[1])))
    build(["digit_mlp"], BuildSettings(output=Path("store"), epochs=2, seed=4, version="6"))
"""


@pytest.fixture(scope="module")
def built_at_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two programs built at once: a line in one store of both, and a model in a store of its own."""
    root = tmp_path_factory.mktemp("at once")
    running = []
    for seed, name in enumerate(FOLDERS):
        (root / name).mkdir()
        command = [sys.executable, "-c", TWO_BUILDS, str(seed)]
        running.append(subprocess.Popen(command, cwd=root / name))
    assert [process.wait() for process in running] == [0, 0]
    return root


def test_what_is_told_of_a_build_is_what_it_published(built: BuildResult) -> None:
    assert built.max_delta <= 2e-5
    confusion = built.evaluation.confusion
    assert confusion is not None
    assert confusion.sum() == built.test_examples == 359
    assert np.trace(confusion) / built.test_examples == built.evaluation.metrics["accuracy"]
    assert hashlib.sha256(built.path.read_bytes()).hexdigest() == built.sha256


def test_two_builds_at_once_in_two_folders_are_byte_equal(built_at_once: Path) -> None:
    for name in ("digit_mlp-6.mar", "digit_mlp-6.mar.sha256"):
        first, second = ((built_at_once / folder / "store" / name).read_bytes() for folder in FOLDERS)
        assert first == second


def test_a_version_is_built_once(tmp_path: Path) -> None:
    (first,) = build(["digit_mlp"], BuildSettings(output=tmp_path, epochs=1))
    content = first.path.read_bytes()
    with pytest.raises(VersionExists):
        build(["digit_mlp"], BuildSettings(output=tmp_path, epochs=1, version="1", seed=1))
    (second,) = build(["digit_mlp"], BuildSettings(output=tmp_path, epochs=1, seed=1))
    assert (first.version, second.version) == ("1", "2")
    assert first.path.read_bytes() == content
    assert second.sha256 != first.sha256


def test_a_training_to_nan_leaves_the_store_untouched(tmp_path: Path, definition: ModelDefinition) -> None:
    hasty = replace(definition.recipes["rows"], learning_rate=1e30)
    plans = planned(replace(definition, recipes={"rows": hasty}), tmp_path / "store")
    threads = torch.get_num_threads()
    with pytest.raises(TrainingDiverged):
        run_plans(plans)
    assert not (tmp_path / "store").exists()
    assert torch.get_num_threads() == threads


def test_an_export_that_differs_leaves_the_store_untouched(
    tmp_path: Path, definition: ModelDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export_another(module: nn.Module, name: str, source: Source | None) -> bytes:
        return export(initialise(definition, seed=99), name)

    monkeypatch.setattr("seqserve_models.prove.export", export_another)
    with pytest.raises(ExportDiffers):
        run_plans(planned(definition, tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_an_unknown_model_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="no model 'digit_mpl'") as caught:
        build(["digit_mlp", "digit_mpl"], BuildSettings(output=tmp_path))
    assert "digit_mlp" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_two_models_of_one_run_need_two_names(tmp_path: Path, definition: ModelDefinition) -> None:
    twice = [Target(definition, "one"), Target(definition, "other")]
    with pytest.raises(ModelInvalid, match="two models of one run are called 'digit_mlp'"):
        make_plans(twice, BuildSettings(output=tmp_path))


def test_two_builds_at_once_in_one_store_get_two_versions(built_at_once: Path) -> None:
    store = built_at_once / "of both"
    assert sorted(path.name for path in store.glob("*.mar")) == ["line-1.mar", "line-2.mar"]
    archives = [read_archive(store / f"line-{version}.mar", UNCHECKED) for version in (1, 2)]
    assert {archive.signature.training["seed"] for archive in archives} == {0, 1}
    assert not list(store.glob(".*"))


def test_an_empty_folder_that_was_there_before_a_failed_build_stays(
    tmp_path: Path, definition: ModelDefinition
) -> None:
    hasty = replace(definition.recipes["rows"], learning_rate=1e30)
    plans = planned(replace(definition, recipes={"rows": hasty}), tmp_path)
    with pytest.raises(TrainingDiverged):
        run_plans(plans)
    assert list(tmp_path.iterdir()) == []


def test_a_leftover_of_a_removed_version_costs_no_training(
    tmp_path: Path, definition: ModelDefinition
) -> None:
    (tmp_path / "digit_mlp-3.checkpoint.pt").write_bytes(b"left over")
    (result,) = run_plans(planned(definition, tmp_path))
    assert result.version == "4"


def test_one_archive_that_does_not_load_stops_no_other(
    tmp_path: Path, definition: ModelDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(archives: Sequence[bytes], _: object) -> None:
        if any(read_zip(archive)["signature.json"].count(b'"second"') for archive in archives):
            raise ExportFailed("the second does not load")

    monkeypatch.setattr("seqserve_models.build.load_clean", picky)
    models = [Target(replace(definition, name=name), name) for name in ("first", "second", "third")]
    with pytest.raises(ExportFailed, match="the second does not load"):
        run_plans(make_plans(models, BuildSettings(output=tmp_path)))
    assert sorted(path.name for path in tmp_path.glob("*.mar")) == ["first-1.mar", "third-1.mar"]


@pytest.mark.long
@pytest.mark.skipif(MNIST_DIR is None, reason="SEQSERVE_MNIST_DIR names no folder with MNIST's files")
def test_mnist_is_learned_to_97_percent(tmp_path: Path) -> None:
    (result,) = build(
        ["digit_mlp"],
        BuildSettings(output=tmp_path, dataset="mnist", data_dir=Path(MNIST_DIR or "")),
    )
    assert result.evaluation.metrics["accuracy"] >= 0.97
    assert result.test_examples == 10_000
