"""Settings, checked before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqserve_models.definition import ModelDefinition
from seqserve_models.errors import BuildError, DeviceUnavailable, SettingInvalid, UnknownDataset
from seqserve_models.plan import BuildPlan, BuildSettings, make_plan
from seqserve_models.target import Target
from seqserve_models.zoo import find_model


def plan_for(definition: ModelDefinition, **settings: Any) -> BuildPlan:
    """The plan of a model with these settings."""
    return make_plan(Target(definition, definition.name), BuildSettings(**settings))


def test_what_is_left_out_comes_from_the_definition(tmp_path: Path) -> None:
    plan = plan_for(find_model("digit_mlp"), output=tmp_path)
    assert (plan.dataset, plan.version, plan.device.type) == ("digits", "1", "cpu")
    assert plan.recipe == find_model("digit_mlp").recipes["digits"]


def test_another_number_of_epochs_changes_nothing_else(tmp_path: Path, definition: ModelDefinition) -> None:
    plan = plan_for(definition, output=tmp_path, epochs=9)
    assert plan.recipe.epochs == 9
    assert plan.recipe.batch_size == definition.recipes["rows"].batch_size


@pytest.mark.parametrize(
    ("setting", "error", "says"),
    [
        ({"seed": -1}, SettingInvalid, "seed -1"),
        ({"seed": 2**63}, SettingInvalid, "seed 9223372036854775808"),
        ({"epochs": 0}, SettingInvalid, "epochs 0"),
        ({"dataset": "letters"}, UnknownDataset, "not trained on 'letters'"),
        ({"device": "abacus"}, DeviceUnavailable, "'abacus' is no device"),
        ({"device": "meta"}, DeviceUnavailable, "no device 'meta'"),
        ({"device": "cuda:99"}, DeviceUnavailable, "no device 'cuda:99'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_with_a_hint(
    tmp_path: Path,
    definition: ModelDefinition,
    setting: dict[str, object],
    error: type[BuildError],
    says: str,
) -> None:
    with pytest.raises(error, match=says) as caught:
        plan_for(definition, output=tmp_path, **setting)
    assert caught.value.hint
