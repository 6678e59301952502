"""What an interrupt or an accident leaves of a build, and how it goes on."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from seqserve.archive import read_archive
from seqserve.trust import UNCHECKED
from seqserve_models.build import run_plans
from seqserve_models.checkpoint import read_checkpoint
from seqserve_models.definition import ModelDefinition
from seqserve_models.errors import (
    CheckpointUnusable,
    ExportDiffers,
    ExportFailed,
    ModelInvalid,
    StoreUnwritable,
    TrainingDiverged,
)
from seqserve_models.plan import BuildSettings, make_plans
from seqserve_models.store import keep_unfinished
from seqserve_models.target import Target
from seqserve_models.zoo.digits import OF_DIGITS
from support.building import InterruptAfter, planned


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training is kept behind every epoch, as a long one is now and then."""
    monkeypatch.setattr("seqserve_models.unfinished.SECONDS_BETWEEN_CHECKPOINTS", 0.0)


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


def test_a_training_does_not_go_on_under_another_recipe(tmp_path: Path, definition: ModelDefinition) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_plans(planned(definition, tmp_path), InterruptAfter(1))
    settings = BuildSettings(output=tmp_path, from_checkpoint=tmp_path / "digit_mlp-1.unfinished.pt")
    for change in ({"batch_size": 8}, {"augmentation": OF_DIGITS}, {"patience": 9}):
        recipe = replace(definition.recipes["rows"], **change)
        with pytest.raises(CheckpointUnusable, match=f"was begun with {next(iter(change))} "):
            make_plans([Target(replace(definition, recipes={"rows": recipe}), "digit_mlp")], settings)


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
    read_archive(tmp_path / "first-1.mar", UNCHECKED)


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


@pytest.mark.usefixtures("often")
def test_a_disk_that_fills_up_in_training_costs_nothing_that_was_kept(
    tmp_path: Path, definition: ModelDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_after_the_first(content: bytes, store: Path, name: str, version: str) -> Path:
        if (store / f"{name}-{version}.unfinished.pt").exists():
            raise StoreUnwritable("no space left")
        return keep_unfinished(content, store, name, version)

    monkeypatch.setattr("seqserve_models.unfinished.keep_unfinished", full_after_the_first)
    with pytest.raises(StoreUnwritable):
        run_plans(planned(definition, tmp_path))
    kept = read_checkpoint(tmp_path / "digit_mlp-1.unfinished.pt")
    assert kept.training is not None
    assert len(kept.training["history"]) == 1


def test_a_full_disk_behind_the_training_loses_nothing(
    tmp_path: Path, definition: ModelDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Path:
        raise StoreUnwritable("no space left")

    monkeypatch.setattr("seqserve_models.build.publish", full)
    with pytest.raises(StoreUnwritable):
        run_plans(planned(definition, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["digit_mlp-1.unfinished.pt"]


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


@pytest.mark.usefixtures("often")
def test_a_long_training_whose_archive_does_not_load_leaves_the_store_untouched(
    tmp_path: Path, definition: ModelDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        assert (tmp_path / "store" / "digit_mlp-1.unfinished.pt").exists()
        raise ExportFailed("needs its code")

    monkeypatch.setattr("seqserve_models.build.load_clean", refuse)
    with pytest.raises(ExportFailed, match="needs its code"):
        run_plans(planned(definition, tmp_path / "store"))
    assert not (tmp_path / "store").exists()
