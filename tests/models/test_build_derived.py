"""Models that begin as another one, and the base that they need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from seqserve_models.build import build, run_plans
from seqserve_models.definition import Derivation, ModelDefinition
from seqserve_models.errors import ModelInvalid
from seqserve_models.plan import BuildSettings, make_plans
from seqserve_models.target import Target
from support.building import InterruptAfter, planned


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


def test_a_derived_model_goes_on_with_the_training_of_its_base(tmp_path: Path) -> None:
    settings = BuildSettings(output=tmp_path, epochs=3)
    with pytest.raises(KeyboardInterrupt):
        build(["digit_parity"], settings, InterruptAfter(2))
    going_on = BuildSettings(output=tmp_path, from_checkpoint=tmp_path / "digit_mlp-1.unfinished.pt")
    progress = InterruptAfter(99)
    base, derived = build(["digit_parity"], going_on, progress)
    assert [report.epoch for report in progress.epochs] == [3, 1, 2, 3]
    assert (base.name, derived.name) == ("digit_mlp", "digit_parity")


def test_a_derived_model_learns_from_the_data_set_that_its_base_was_interrupted_on(
    tmp_path: Path, definition: ModelDefinition
) -> None:
    recipes = {"first": definition.recipes["rows"], "second": definition.recipes["rows"]}
    base = replace(definition, name="base", recipes=recipes)
    derived = replace(base, name="derived", derivation=Derivation(base, lambda trained: trained))
    other = BuildSettings(output=tmp_path, dataset="second")
    with pytest.raises(KeyboardInterrupt):
        run_plans(make_plans([Target(derived, "derived")], other), InterruptAfter(1))
    going_on = BuildSettings(output=tmp_path, from_checkpoint=tmp_path / "base-1.unfinished.pt")
    plans = make_plans([Target(derived, "derived")], going_on)
    assert [(plan.definition.name, plan.dataset) for plan in plans] == [
        ("base", "second"),
        ("derived", "second"),
    ]


def test_a_base_whose_checkpoint_cannot_be_read_is_built_again(tmp_path: Path) -> None:
    build(["digit_mlp"], BuildSettings(output=tmp_path, epochs=1))
    (tmp_path / "digit_mlp-1.checkpoint.pt").write_bytes(b"damaged")
    base, _ = build(["digit_parity"], BuildSettings(output=tmp_path, epochs=1))
    assert (base.name, base.version) == ("digit_mlp", "2")


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
