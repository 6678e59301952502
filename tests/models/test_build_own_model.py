"""Models of one's own in a build: their layers, their data, their loss, and how each is named when it fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from seqserve.archive import read_archive
from seqserve.trust import UNCHECKED
from seqserve_models.build import build, run_plans
from seqserve_models.dataset import DataOptions, Dataset
from seqserve_models.definition import ModelDefinition
from seqserve_models.errors import (
    ExportDiffers,
    LayerMisfit,
    ModelInvalid,
    TargetUnusable,
)
from seqserve_models.plan import BuildSettings
from support.building import planned

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


ODD = (
    OWN.replace("values + 1", "values.EXPRESSION")
    .replace("from layers import Half\n", "")
    .replace("nn.Linear(2, 4), Half(), Plus(), nn.Linear(4, 1)", "nn.Linear(2, 4), nn.Linear(4, 1), Plus()")
)


def test_a_file_with_layers_of_its_own_is_built(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "layers.py").write_text(LAYERS)
    (result,) = build([f"{tmp_path / 'own.py'}:OWN"], BuildSettings(output=tmp_path / "store"))
    assert (result.name, result.dataset, result.test_examples) == ("own", "sums", 10)
    assert result.evaluation.metrics["mean_absolute_error"] < 0.05
    signature = read_archive(result.path, UNCHECKED).signature
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
    assert read_archive(result.path, UNCHECKED).name == "own"


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
