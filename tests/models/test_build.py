"""The whole story of a model, with its endings."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from seqserve.archive import read_archive
from seqserve_models.build import BuildResult, build, run_plans
from seqserve_models.dataset import DataOptions, Dataset
from seqserve_models.definition import Derivation, ModelDefinition
from seqserve_models.errors import (
    CheckpointUnusable,
    ExportDiffers,
    ExportFailed,
    LayerMisfit,
    ModelInvalid,
    StoreUnwritable,
    TargetUnusable,
    TrainingDiverged,
    UnknownModel,
    VersionExists,
)
from seqserve_models.export import export
from seqserve_models.members import read_zip
from seqserve_models.plan import BuildPlan, BuildSettings, make_plans
from seqserve_models.progress import EpochReport, SilentProgress
from seqserve_models.source import Source
from seqserve_models.target import Target
from seqserve_models.train import initialise
from seqserve_models.zoo.digits import OF_DIGITS

IN_ONE_STORE = """
import sys
from pathlib import Path
from seqserve_models.build import build
from seqserve_models.plan import BuildSettings
build(["line"], BuildSettings(output=Path("store"), epochs=3, seed=int(sys.argv[1])))
"""


class InterruptAfter(SilentProgress):
    """Ctrl-C behind an epoch, counted over all models."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self.epochs: list[EpochReport] = []

    def epoch(self, report: EpochReport) -> None:
        self.epochs.append(report)
        if len(self.epochs) == self._epochs:
            raise KeyboardInterrupt


MNIST_DIR = os.environ.get("SEQSERVE_MNIST_DIR")
BUILD = """
from pathlib import Path
from seqserve_models.build import build
from seqserve_models.plan import BuildSettings
build(["digit_mlp"], BuildSettings(output=Path("store"), epochs=2, seed=4, version="6"))
"""


@pytest.fixture(autouse=True)
def without_clean_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """test_clean_check.py is about that step, which takes seconds and is the same in every build here."""
    monkeypatch.setattr("seqserve_models.build.load_clean", lambda *_: None)


def planned(definition: ModelDefinition, store: Path) -> list[BuildPlan]:
    """What a build of this one would do."""
    return make_plans([Target(definition, definition.name)], BuildSettings(output=store))


def test_the_default_settings_give_a_good_model(built: BuildResult) -> None:
    assert built.evaluation.metrics["accuracy"] >= 0.97
    assert built.max_delta <= 2e-5
    confusion = built.evaluation.confusion
    assert confusion is not None
    assert confusion.sum() == built.test_examples == 359
    assert np.trace(confusion) / built.test_examples == built.evaluation.metrics["accuracy"]
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


OWN = """
import torch
from torch import nn
from layers import Half
from seqserve_models import Dataset, ModelDefinition, Recipe

class Plus(nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values + 1

def build():
    return nn.Sequential(nn.Linear(2, 4), Half(), Plus(), nn.Linear(4, 1))

def load(options):
    inputs = torch.randn(40, 2, generator=torch.Generator().manual_seed(options.seed)).numpy()
    targets = inputs.sum(axis=1, keepdims=True)
    return Dataset(inputs[:30], targets[:30], inputs[30:], targets[30:])

OWN = ModelDefinition(
    name="own", task="regression", build=build, input_shape=(2,), output_shape=(1,),
    recipes={"sums": Recipe(load=load, epochs=200, batch_size=10, learning_rate=0.05)},
)
"""
LAYERS = """
import torch
from torch import nn

class Half(nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values / 2
"""


def test_a_file_with_layers_of_its_own_is_built(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "layers.py").write_text(LAYERS)
    (result,) = build([f"{tmp_path / 'own.py'}:OWN"], BuildSettings(output=tmp_path / "store"))
    assert (result.name, result.dataset, result.test_examples) == ("own", "sums", 10)
    assert result.evaluation.metrics["mean_absolute_error"] < 0.05
    signature = read_archive(result.path).signature
    assert signature.task == "regression"
    assert signature.training["metrics"].keys() == {"test_mean_absolute_error", "test_root_mean_square_error"}


def test_a_package_of_ones_own_called_models_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "models"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "layers.py").write_text(LAYERS)
    (package / "own.py").write_text(OWN.replace("from layers", "from .layers"))
    monkeypatch.chdir(tmp_path)
    (result,) = build(["models.own:OWN"], BuildSettings(output=tmp_path / "store", epochs=2))
    assert read_archive(result.path).name == "own"


def test_what_does_not_fit_is_found_before_anything_is_loaded(
    tmp_path: Path, definition: ModelDefinition
) -> None:
    def load(options: DataOptions) -> Dataset:
        raise AssertionError(options)

    wrong = replace(
        definition,
        build=lambda: nn.Sequential(nn.Linear(784, 32), nn.Linear(31, 10), nn.Softmax(dim=1)),
        recipes={"rows": replace(definition.recipes["rows"], load=load)},
    )
    with pytest.raises(LayerMisfit, match=r"^1 Linear expects 31 features, gets 32 from 0$"):
        planned(wrong, tmp_path)


@pytest.mark.parametrize("raised", [ValueError("no such column"), KeyError("label")])
def test_a_loader_that_raises_is_named(
    tmp_path: Path, definition: ModelDefinition, raised: Exception
) -> None:
    def load(options: DataOptions) -> Dataset:
        raise raised

    broken = replace(definition, recipes={"rows": replace(definition.recipes["rows"], load=load)})
    with pytest.raises(TargetUnusable, match=rf"digit_mlp: load of 'rows' raises {type(raised).__name__}"):
        run_plans(planned(broken, tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_a_loss_that_raises_is_named_and_leaves_nothing(tmp_path: Path, definition: ModelDefinition) -> None:
    broken = replace(definition, loss=lambda logits, targets: (logits - targets).sum())
    with pytest.raises(ModelInvalid, match="digit_mlp: training raises RuntimeError: The size of tensor"):
        run_plans(planned(broken, tmp_path / "store"))
    assert not (tmp_path / "store").exists()


@pytest.mark.long
def test_a_derived_model_is_the_same_whether_its_base_is_there_or_not(tmp_path: Path) -> None:
    (base, alone) = build(["digit_parity"], BuildSettings(output=tmp_path / "one", epochs=2))
    assert (base.name, alone.name) == ("digit_mlp", "digit_parity")

    another = BuildSettings(output=tmp_path / "other", epochs=2)
    build(["digit_mlp"], replace(another, seed=1))
    build(["digit_mlp"], another)
    (after,) = build(["digit_parity"], another)
    assert after.path.read_bytes() == alone.path.read_bytes()

    (again, _) = build(["digit_parity", "digit_mlp"], replace(another, version="7"))
    assert (again.name, again.version) == ("digit_parity", "7")


def test_a_training_goes_on_after_an_interrupt_to_the_same_bytes(
    tmp_path: Path, definition: ModelDefinition
) -> None:
    longer = replace(definition, recipes={"rows": replace(definition.recipes["rows"], epochs=5)})
    with pytest.raises(KeyboardInterrupt):
        run_plans(planned(longer, tmp_path / "store"), InterruptAfter(3))
    unfinished = tmp_path / "store" / "digit_mlp-1.unfinished.pt"
    assert [path.name for path in (tmp_path / "store").iterdir()] == [unfinished.name]

    going_on = BuildSettings(output=tmp_path / "store", from_checkpoint=unfinished)
    progress = InterruptAfter(99)
    run_plans(make_plans([Target(longer, "digit_mlp")], going_on), progress)
    assert [report.epoch for report in progress.epochs] == [4, 5]

    run_plans(planned(longer, tmp_path / "whole"))
    for name in ("digit_mlp-1.mar", "digit_mlp-1.checkpoint.pt"):
        assert (tmp_path / "store" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not unfinished.exists()


@pytest.mark.parametrize(
    ("contradiction", "says"),
    [({"seed": 1}, "with seed 0, not 1"), ({"epochs": 9}, "with epochs 2, not 9")],
)
def test_an_unfinished_training_cannot_be_contradicted(
    tmp_path: Path, definition: ModelDefinition, contradiction: dict[str, Any], says: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_plans(planned(definition, tmp_path), InterruptAfter(1))
    settings = BuildSettings(
        output=tmp_path, from_checkpoint=tmp_path / "digit_mlp-1.unfinished.pt", **contradiction
    )
    with pytest.raises(CheckpointUnusable, match=says):
        make_plans([Target(definition, "digit_mlp")], settings)
    with pytest.raises(CheckpointUnusable, match="is of digit_mlp, not of other"):
        make_plans([Target(replace(definition, name="other"), "other")], replace(settings, seed=None))


def test_a_model_may_start_from_the_weights_of_another(tmp_path: Path, definition: ModelDefinition) -> None:
    (first,) = run_plans(planned(definition, tmp_path))
    checkpoint = first.path.with_name("digit_mlp-1.checkpoint.pt")
    settings = BuildSettings(output=tmp_path, from_checkpoint=checkpoint)
    still = replace(definition.recipes["rows"], learning_rate=1e-30)
    plans = make_plans([Target(replace(definition, recipes={"rows": still}), "digit_mlp")], settings)
    (second,) = run_plans(plans)
    weights = [
        torch.load(path.with_name(f"digit_mlp-{path.stem[-1]}.checkpoint.pt"), weights_only=True)[
            "state_dict"
        ]
        for path in (first.path, second.path)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert second.sha256 != first.sha256  # its signature says where the weights began


def test_what_was_finished_before_an_interrupt_is_published(
    tmp_path: Path, definition: ModelDefinition
) -> None:
    models = [Target(replace(definition, name=name), name) for name in ("first", "second")]
    plans = make_plans(models, BuildSettings(output=tmp_path))
    with pytest.raises(KeyboardInterrupt):
        run_plans(plans, InterruptAfter(3))
    assert {path.name for path in tmp_path.iterdir()} == {
        *("first-1.mar", "first-1.mar.sha256", "first-1.checkpoint.pt", "first-1.report.html"),
        "second-1.unfinished.pt",
    }
    read_archive(tmp_path / "first-1.mar")


def test_two_models_of_one_run_need_two_names(tmp_path: Path, definition: ModelDefinition) -> None:
    twice = [Target(definition, "one"), Target(definition, "other")]
    with pytest.raises(ModelInvalid, match="two models of one run are called 'digit_mlp'"):
        make_plans(twice, BuildSettings(output=tmp_path))


def test_two_builds_at_once_in_one_store_get_two_versions(tmp_path: Path) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", IN_ONE_STORE, str(seed)], cwd=tmp_path) for seed in (0, 1)
    ]
    assert [process.wait() for process in running] == [0, 0]
    assert sorted(path.name for path in (tmp_path / "store").glob("*.mar")) == ["line-1.mar", "line-2.mar"]
    seeds = {
        read_archive(tmp_path / "store" / f"line-{version}.mar").signature.training["seed"]
        for version in (1, 2)
    }
    assert seeds == {0, 1}
    assert not list((tmp_path / "store").glob(".*"))


def test_an_accident_in_training_keeps_what_was_learned(tmp_path: Path, definition: ModelDefinition) -> None:
    calls: list[int] = []

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 8:
            raise RuntimeError("out of memory")
        return torch.nn.functional.cross_entropy(logits, targets)

    unlucky = replace(definition, loss=loss)
    with pytest.raises(ModelInvalid, match="training raises RuntimeError: out of memory"):
        run_plans(planned(unlucky, tmp_path / "store"))
    settings = BuildSettings(
        output=tmp_path / "store", from_checkpoint=tmp_path / "store" / "digit_mlp-1.unfinished.pt"
    )
    (result,) = run_plans(make_plans([Target(unlucky, "digit_mlp")], settings))
    assert result.epochs == 2


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training is kept behind every epoch, as a long one is now and then."""
    monkeypatch.setattr("seqserve_models.unfinished.SECONDS_BETWEEN_CHECKPOINTS", 0.0)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("failure", ["diverges", "differs"])
def test_a_long_training_that_comes_to_nothing_leaves_the_store_untouched(
    tmp_path: Path, definition: ModelDefinition, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        good = torch.nn.functional.cross_entropy(logits, targets)
        kept = (tmp_path / "store" / "digit_mlp-1.unfinished.pt").exists()
        return good * math.nan if kept and failure == "diverges" else good

    def differ(*_: object) -> float:
        assert (tmp_path / "store" / "digit_mlp-1.unfinished.pt").exists()
        raise ExportDiffers("by one")

    monkeypatch.setattr("seqserve_models.prove.verify", differ)
    with pytest.raises(TrainingDiverged if failure == "diverges" else ExportDiffers):
        run_plans(planned(replace(definition, loss=loss), tmp_path / "store"))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("where", ["prove.export", "build.load_clean"])
def test_an_interrupt_behind_the_last_epoch_loses_nothing(
    tmp_path: Path, definition: ModelDefinition, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"seqserve_models.{where}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_plans(planned(definition, tmp_path))
    unfinished = tmp_path / "digit_mlp-1.unfinished.pt"
    assert [path.name for path in tmp_path.iterdir()] == [unfinished.name]
    settings = BuildSettings(output=tmp_path, from_checkpoint=unfinished)
    (result,) = run_plans(make_plans([Target(definition, "digit_mlp")], settings))
    assert result.epochs == 2


def test_a_derived_model_goes_on_with_the_training_of_its_base(tmp_path: Path) -> None:
    settings = BuildSettings(output=tmp_path, epochs=3)
    with pytest.raises(KeyboardInterrupt):
        build(["digit_parity"], settings, InterruptAfter(2))
    going_on = BuildSettings(output=tmp_path, from_checkpoint=tmp_path / "digit_mlp-1.unfinished.pt")
    progress = InterruptAfter(99)
    base, derived = build(["digit_parity"], going_on, progress)
    assert [report.epoch for report in progress.epochs] == [3, 1, 2, 3]
    assert (base.name, derived.name) == ("digit_mlp", "digit_parity")


def test_a_base_whose_checkpoint_cannot_be_read_is_built_again(tmp_path: Path) -> None:
    build(["digit_mlp"], BuildSettings(output=tmp_path, epochs=1))
    (tmp_path / "digit_mlp-1.checkpoint.pt").write_bytes(b"damaged")
    base, _ = build(["digit_parity"], BuildSettings(output=tmp_path, epochs=1))
    assert (base.name, base.version) == ("digit_mlp", "2")


def test_a_training_does_not_go_on_under_another_recipe(tmp_path: Path, definition: ModelDefinition) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_plans(planned(definition, tmp_path), InterruptAfter(1))
    settings = BuildSettings(output=tmp_path, from_checkpoint=tmp_path / "digit_mlp-1.unfinished.pt")
    for change in ({"batch_size": 8}, {"augmentation": OF_DIGITS}, {"patience": 9}):
        recipe = replace(definition.recipes["rows"], **change)
        with pytest.raises(CheckpointUnusable, match=f"was begun with {next(iter(change))} "):
            make_plans([Target(replace(definition, recipes={"rows": recipe}), "digit_mlp")], settings)


ODD = (
    OWN.replace("values + 1", "values.EXPRESSION")
    .replace("from layers import Half\n", "")
    .replace("nn.Linear(2, 4), Half(), Plus(), nn.Linear(4, 1)", "nn.Linear(2, 4), nn.Linear(4, 1), Plus()")
)


@pytest.mark.parametrize(
    ("expression", "says"),
    [("double()", "an output is float64; accepted: float32"), ("squeeze(0)", "an output has shape")],
)
def test_what_no_gateway_could_serve_is_not_archived(tmp_path: Path, expression: str, says: str) -> None:
    (tmp_path / "odd.py").write_text(ODD.replace("EXPRESSION", expression))
    settings = BuildSettings(output=tmp_path / "store", epochs=1)
    with pytest.raises(ExportDiffers, match=says):
        build([f"{tmp_path / 'odd.py'}:OWN"], settings)
    assert not (tmp_path / "store").exists()


def test_answers_by_chance_are_named_as_such(tmp_path: Path) -> None:
    chance = ODD.replace("values.EXPRESSION", "torch.nn.functional.dropout(values, 0.5)")
    (tmp_path / "odd.py").write_text(chance)
    with pytest.raises(ExportDiffers, match="two answers of the module to the same examples differ"):
        build([f"{tmp_path / 'odd.py'}:OWN"], BuildSettings(output=tmp_path / "store", epochs=1))


def test_a_full_disk_behind_the_training_loses_nothing(
    tmp_path: Path, definition: ModelDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Path:
        raise StoreUnwritable("no space left")

    monkeypatch.setattr("seqserve_models.build.publish", full)
    with pytest.raises(StoreUnwritable):
        run_plans(planned(definition, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["digit_mlp-1.unfinished.pt"]


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


def test_an_edit_that_makes_other_layers_than_build_is_refused(
    tmp_path: Path, definition: ModelDefinition
) -> None:
    wrong = replace(
        definition,
        name="derived",
        derivation=Derivation(definition, lambda base: base.append(nn.Linear(10, 10))),
    )
    with pytest.raises(ModelInvalid, match="derived: edit gives the weights"):
        planned(wrong, tmp_path)


@pytest.mark.long
@pytest.mark.skipif(MNIST_DIR is None, reason="SEQSERVE_MNIST_DIR names no folder with MNIST's files")
def test_mnist_is_learned_to_97_percent(tmp_path: Path) -> None:
    (result,) = build(
        ["digit_mlp"],
        BuildSettings(output=tmp_path, dataset="mnist", data_dir=Path(MNIST_DIR or "")),
    )
    assert result.evaluation.metrics["accuracy"] >= 0.97
    assert result.test_examples == 10_000
