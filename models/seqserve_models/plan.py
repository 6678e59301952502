"""What one build will do: every setting checked and filled in, before anything is read or trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from seqserve_models.definition import ModelDefinition, Recipe
from seqserve_models.errors import DeviceUnavailable, SettingInvalid, UnknownDataset
from seqserve_models.store import choose_version

MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class BuildPlan:
    """One model, and all that decides about its archive. `output` is the model store."""

    definition: ModelDefinition
    output: Path
    version: str
    dataset: str
    data_dir: Path | None
    recipe: Recipe
    seed: int
    device: torch.device


def make_plan(
    definition: ModelDefinition,
    *,
    output: Path,
    dataset: str | None = None,
    data_dir: Path | None = None,
    seed: int = 0,
    epochs: int | None = None,
    version: str | None = None,
    device: str = "cpu",
) -> BuildPlan:
    """Settings as `build` takes them, for one model.

    Raises SettingInvalid, UnknownDataset, DeviceUnavailable, VersionExists, StoreUnwritable.
    """
    if not 0 <= seed <= MAX_SEED:
        raise SettingInvalid(f"seed {seed}", hint=f"seeds run from 0 to {MAX_SEED}")
    chosen = dataset or definition.default_dataset
    return BuildPlan(
        definition=definition,
        output=output,
        version=choose_version(output, definition.name, version),
        dataset=chosen,
        data_dir=data_dir,
        recipe=choose_recipe(definition, chosen, epochs),
        seed=seed,
        device=choose_device(device),
    )


def choose_recipe(definition: ModelDefinition, dataset: str, epochs: int | None) -> Recipe:
    """The model's recipe for a data set, with another number of epochs where one is given."""
    recipe = definition.recipes.get(dataset)
    if recipe is None:
        known = ", ".join(definition.recipes)
        raise UnknownDataset(f"{definition.name} is not trained on {dataset!r}", hint=f"known: {known}")
    if epochs is None:
        return recipe
    if epochs < 1:
        raise SettingInvalid(f"{epochs} epochs", hint="at least 1 is needed")
    return replace(recipe, epochs=epochs)


def choose_device(text: str) -> torch.device:
    """`cpu`, `cuda` or `cuda:N` of this machine. Raises DeviceUnavailable."""
    try:
        device = torch.device(text)
    except RuntimeError as error:
        raise DeviceUnavailable(f"{text!r} is no device", hint="accepted: cpu, cuda, cuda:N") from error
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.type not in ("cpu", "cuda") or (device.index or 0) >= count:
        raise DeviceUnavailable(f"this machine has no device {text!r}", hint="cpu is always there")
    return device
