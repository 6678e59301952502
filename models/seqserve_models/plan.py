"""What a build will do: every setting checked and filled in, before anything is read or trained."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch

from seqserve_models.checkpoint import Checkpoint, read_checkpoint, weights_sha256
from seqserve_models.dataset import DataOptions
from seqserve_models.definition import ModelDefinition, Recipe
from seqserve_models.definition_check import check_definition
from seqserve_models.errors import (
    CheckpointUnusable,
    DeviceUnavailable,
    ModelInvalid,
    SettingInvalid,
    UnknownDataset,
)
from seqserve_models.facts import library_versions
from seqserve_models.progress import Progress
from seqserve_models.shapes import LayerRow
from seqserve_models.signing_keys import SigningKey, read_signing_key
from seqserve_models.source import Source
from seqserve_models.store import choose_version, finished_checkpoints
from seqserve_models.target import Target
from seqserve_models.threads import BUILD_THREADS

MAX_SEED = 2**63 - 1
# Of a training's settings, those that say which weights it began with.
WEIGHTS = ("start_weights", "base_weights")


@dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """What one call of a build is asked for, as on its command line.

    output: the model store. None takes the model's own data set and epochs, the seed 0 and the next
    version, or what an unfinished checkpoint says.
    data_dir, download: for the data set. device: where to train, `cpu`, `cuda` or `cuda:N`.
    from_checkpoint: an unfinished training to go on with, or weights to start from.
    signing_key: file with the private key that attests the archives; None attests none.
    """

    output: Path
    dataset: str | None = None
    data_dir: Path | None = None
    download: bool = False
    seed: int | None = None
    epochs: int | None = None
    version: str | None = None
    device: str = "cpu"
    from_checkpoint: Path | None = None
    signing_key: Path | None = None


@dataclass(frozen=True)
class BuildPlan:
    """One model, and all that decides about its archive.

    named: the target, as it was written. output: the model store. layers: from following the input's
    shape through the untrained module. start: what `from_checkpoint` holds. base: of a derived model, the
    trained weights that it begins with; None where they are made earlier in the same run.
    is_version_fixed: asked for, or of the training that goes on; otherwise the next free number will do.
    """

    definition: ModelDefinition
    named: str
    source: Source | None
    output: Path
    version: str
    dataset: str
    data_dir: Path | None
    download: bool
    recipe: Recipe
    seed: int
    device: torch.device
    layers: tuple[LayerRow, ...]
    start: Checkpoint | None = None
    base: Checkpoint | None = None
    is_version_fixed: bool = False
    signing_key: SigningKey | None = None

    @property
    def resumed(self) -> Checkpoint | None:
        """The unfinished training that goes on."""
        return self.start if self.start is not None and not self.start.is_finished else None

    @property
    def needs_base(self) -> bool:
        """Whether its weights come from another model of this run."""
        return self.definition.derivation is not None and self.start is None and self.base is None

    def data_options(self, progress: Progress) -> DataOptions:
        """What the data set is asked for."""
        return DataOptions(self.seed, self.data_dir, self.download, progress.step)

    def training_settings(self, base: Checkpoint | None) -> dict[str, Any]:
        """All that decides about the weights but the version; plain values."""
        start = self.start if self.start is not None and self.start.is_finished else None
        return {
            "name": self.definition.name,
            "dataset": self.dataset,
            "seed": self.seed,
            "epochs": self.recipe.epochs,
            "batch_size": self.recipe.batch_size,
            "learning_rate": self.recipe.learning_rate,
            "patience": self.recipe.patience,
            "augmentation": described(self.recipe.augmentation),
            "optimizer": described(self.recipe.optimizer),
            "schedule": described(self.recipe.schedule),
            "loss": described(self.definition.loss),
            "device": self.device.type,
            "threads": BUILD_THREADS,
            "libraries": library_versions(),
            "start_weights": None if start is None else weights_sha256(start.state_dict),
            "base_weights": None if base is None else weights_sha256(base.state_dict),
        }


def make_plans(targets: Sequence[Target], settings: BuildSettings) -> list[BuildPlan]:
    """A plan for each model, and before a derived one the plan of its base, unless its weights are there.

    Raises ModelInvalid, LayerMisfit, SettingInvalid, UnknownDataset, DeviceUnavailable,
    CheckpointUnusable, SigningKeyUnusable, VersionExists, StoreUnwritable.
    """
    _check_names(targets)
    if settings.from_checkpoint is not None and len(targets) > 1:
        raise SettingInvalid(f"one checkpoint for {len(targets)} models", hint="name the model it belongs to")
    plans: list[BuildPlan] = []
    for target in targets:
        plan = make_plan(target, _without_base_checkpoint(target, settings))
        if plan.needs_base and target.definition.derivation is not None:
            _add_base(plans, replace(target, definition=target.definition.derivation.base), settings)
        # A base that was added for an earlier model is not built again.
        if plan.definition.name not in {planned.definition.name for planned in plans}:
            plans.append(plan)
    return plans


def make_plan(target: Target, settings: BuildSettings) -> BuildPlan:
    """Settings for one model. Raises as `make_plans` does."""
    definition = target.definition
    start = None if settings.from_checkpoint is None else read_checkpoint(settings.from_checkpoint)
    resumes = None
    if start is not None and not start.is_finished:
        settings, resumes = _continued(definition, settings, start.settings), start.settings["version"]
    layers = check_definition(definition)
    seed = settings.seed or 0
    if not 0 <= seed <= MAX_SEED:
        raise SettingInvalid(f"seed {seed}", hint=f"seeds run from 0 to {MAX_SEED}")
    dataset = settings.dataset or definition.default_dataset
    plan = BuildPlan(
        definition=definition,
        named=target.named,
        source=target.source,
        output=settings.output,
        version=choose_version(settings.output, definition.name, settings.version, resumes=resumes),
        dataset=dataset,
        data_dir=settings.data_dir,
        download=settings.download,
        recipe=choose_recipe(definition, dataset, settings.epochs),
        seed=seed,
        device=choose_device(settings.device),
        layers=layers,
        start=start,
        is_version_fixed=settings.version is not None or resumes is not None,
        signing_key=None if settings.signing_key is None else read_signing_key(settings.signing_key),
    )
    plan = replace(plan, base=_find_base(plan, settings))
    if plan.resumed is not None:
        _check_unchanged(plan, plan.resumed, settings)
    return plan


def choose_recipe(definition: ModelDefinition, dataset: str, epochs: int | None) -> Recipe:
    """The model's recipe for a data set, with another number of epochs where one is given."""
    recipe = definition.recipes.get(dataset)
    if recipe is None:
        known = ", ".join(definition.recipes)
        raise UnknownDataset(f"{definition.name} is not trained on {dataset!r}", hint=f"known: {known}")
    if epochs is None:
        return recipe
    if epochs < 1:
        raise SettingInvalid(f"epochs {epochs}", hint="at least 1 is needed")
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


def _check_names(targets: Sequence[Target]) -> None:
    names = [target.definition.name for target in targets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ModelInvalid(f"two models of one run are called {twice!r}")
    folders = {
        str(Path(target.source.place).parent) for target in targets if target.source and target.source.is_file
    }
    if len(folders) > 1:
        raise ModelInvalid(
            f"the files of one run are in different folders: {', '.join(sorted(folders))}",
            hint="modules of one name would be mixed up; build them one after the other",
        )


def _add_base(plans: list[BuildPlan], target: Target, settings: BuildSettings) -> None:
    """Plan a derived model's base, in the next free version, unless this run makes it anyway."""
    if target.definition.name not in {plan.definition.name for plan in plans}:
        plans += make_plans([target], replace(settings, version=None))


def _find_base(plan: BuildPlan, settings: BuildSettings) -> Checkpoint | None:
    """The newest checkpoint in the store that equals what a build of the base would give now."""
    if plan.definition.derivation is None or plan.start is not None:
        return None
    target = Target(plan.definition.derivation.base, plan.named, plan.source)
    base = make_plan(target, replace(settings, version=None))
    wanted = base.training_settings(base.base)
    for path in finished_checkpoints(plan.output, base.definition.name):
        with contextlib.suppress(CheckpointUnusable):  # what cannot be read is as good as absent
            checkpoint = read_checkpoint(path)
            if without_version(checkpoint.settings) == wanted:
                return checkpoint
    return None


def without_version(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's settings that decide about its weights."""
    return {name: value for name, value in settings.items() if name != "version"}


def _continued(
    definition: ModelDefinition, settings: BuildSettings, kept: Mapping[str, Any]
) -> BuildSettings:
    """The settings of an unfinished training, which nothing may contradict."""
    path = settings.from_checkpoint
    if kept["name"] != definition.name:
        raise CheckpointUnusable(f"{path} is of {kept['name']}, not of {definition.name}")
    for name in ("dataset", "seed", "epochs"):
        given = getattr(settings, name)
        if given not in (None, kept[name]):
            raise CheckpointUnusable(
                f"{path} is of an unfinished training with {name} {kept[name]}, not {given}",
                hint=f"leave --{name} out to go on with it",
            )
    return replace(settings, dataset=kept["dataset"], seed=kept["seed"], epochs=kept["epochs"])


def _check_unchanged(plan: BuildPlan, kept: Checkpoint, settings: BuildSettings) -> None:
    """A training goes on as it was begun, or its signature would not be true."""
    now = plan.training_settings(None)
    for name, value in now.items():
        if name not in WEIGHTS and kept.settings.get(name) != value:
            raise CheckpointUnusable(
                f"{settings.from_checkpoint} was begun with {name} {kept.settings.get(name)}, not {value}",
                hint="start anew, or go on where nothing has changed",
            )


def _without_base_checkpoint(target: Target, settings: BuildSettings) -> BuildSettings:
    """Settings for a derived model where the checkpoint is of its base, whose training was interrupted."""
    derivation = target.definition.derivation
    if settings.from_checkpoint is None or derivation is None:
        return settings
    start = read_checkpoint(settings.from_checkpoint)
    if start.is_finished or start.settings["name"] != derivation.base.name:
        return settings
    kept = start.settings
    own = {name: kept[name] for name in ("dataset", "seed", "epochs")}
    return replace(settings, from_checkpoint=None, **own)


def described(part: object) -> str | None:
    """A text that is the same in every process: a function's name, or all of a dataclass."""
    if part is None or is_dataclass(part):
        return None if part is None else repr(part)
    named = part if hasattr(part, "__qualname__") else type(part)
    return f"{named.__module__}.{getattr(named, '__qualname__', '')}"
