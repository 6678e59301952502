"""Fits a planned model to its examples: from the weights it begins with to those that are kept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seqserve_models.checkpoint import Checkpoint, load_weights
from seqserve_models.errors import BuildError, CheckpointUnusable, ModelInvalid
from seqserve_models.examples import Examples
from seqserve_models.plan import BuildPlan
from seqserve_models.progress import EpochReport, Progress
from seqserve_models.source import first_line
from seqserve_models.store import drop_unfinished, keep_unfinished
from seqserve_models.train import Training, batches, initialise

# A training that is killed loses no more than this, and the epoch that it was in.
SECONDS_BETWEEN_CHECKPOINTS = 10.0


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained module on the CPU, in evaluation mode, and how it came about."""

    module: nn.Sequential
    history: tuple[EpochReport, ...]
    checkpoint: Checkpoint


def fit(
    plan: BuildPlan, base: Checkpoint | None, train: Examples, test: Examples, progress: Progress
) -> Fitted:
    """Train; what is interrupted can go on from the unfinished checkpoint that it leaves in the store.

    base: trained weights for a derived model. Raises ModelInvalid, TrainingDiverged, CheckpointUnusable,
    StoreUnwritable; then there is no unfinished checkpoint.
    """
    training = Training(
        plan.definition,
        begin(plan, base),
        plan.recipe,
        seed=plan.seed,
        device=plan.device,
        steps_an_epoch=len(batches(torch.arange(len(train)), plan.recipe.batch_size)),
    )
    settings = {**plan.training_settings(base), "version": plan.version}
    if plan.start is not None and not plan.start.is_finished:
        settings = {**plan.start.settings, "version": plan.version}
        _restore(training, plan.start, progress)
    module = _run(plan, training, train, test, _Unfinished(plan, settings, progress))
    if len(training.history) < plan.recipe.epochs:
        ended = (
            f"ended after epoch {len(training.history)}: no smaller loss for {plan.recipe.patience} epochs"
        )
        progress.step(ended)
    return Fitted(module, tuple(training.history), Checkpoint(module.state_dict(), settings))


def begin(plan: BuildPlan, base: Checkpoint | None) -> nn.Sequential:
    """The module before its first step. Raises CheckpointUnusable."""
    derivation = plan.definition.derivation
    if plan.start is None and derivation is not None and base is not None:
        trained = initialise(derivation.base, plan.seed)
        load_weights(trained, base.state_dict, f"the checkpoint of {derivation.base.name}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            return derivation.edit(trained)
    module = initialise(plan.definition, plan.seed)
    if plan.start is not None:
        load_weights(module, plan.start.state_dict, "the checkpoint")
    return module


def _run(
    plan: BuildPlan, training: Training, train: Examples, test: Examples, unfinished: _Unfinished
) -> nn.Sequential:
    try:
        return training.run(train, test, unfinished.follow)
    except KeyboardInterrupt:
        unfinished.keep()
        raise
    except BuildError:
        drop_unfinished(plan.output, plan.definition.name, plan.version)
        raise
    except Exception as error:  # layers, loss, optimizer and augmentation may be the user's own
        drop_unfinished(plan.output, plan.definition.name, plan.version)
        raise ModelInvalid(
            f"{plan.definition.name}: training raises {type(error).__name__}: {first_line(error)}",
            hint="--debug shows where",
        ) from error


def _restore(training: Training, start: Checkpoint, progress: Progress) -> None:
    try:
        training.restore(dict(start.training or {}))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointUnusable(
            f"the unfinished training does not fit this definition: {first_line(error)}"
        ) from error
    progress.step(f"going on after epoch {len(training.history)}")


class _Unfinished:
    """The state after the last whole epoch, and now and then its file in the store."""

    def __init__(self, plan: BuildPlan, settings: Mapping[str, Any], progress: Progress) -> None:
        self._plan, self._settings, self._progress = plan, settings, progress
        self._document: bytes | None = None
        self._kept_at = time.monotonic()

    def follow(self, training: Training) -> None:
        """An epoch has ended."""
        state = training.state()
        self._document = Checkpoint(state["module"], self._settings, state).document()
        self._progress.epoch(training.history[-1])
        if time.monotonic() - self._kept_at >= SECONDS_BETWEEN_CHECKPOINTS:
            self._write(self._document)

    def keep(self) -> None:
        """The training is interrupted."""
        if self._document is None:
            return
        path = self._write(self._document)
        plan = self._plan
        options = {"--output": plan.output, "--from-checkpoint": path, "--data-dir": plan.data_dir}
        told = " ".join(f"{name} {value}" for name, value in options.items() if value is not None)
        device = "" if plan.device.type == "cpu" else f" --device {plan.device}"
        self._progress.step(
            f"{plan.definition.name} was interrupted; to go on: seqserve build {plan.named} {told}{device}"
        )

    def _write(self, document: bytes) -> Path:
        self._kept_at = time.monotonic()
        return keep_unfinished(document, self._plan.output, self._plan.definition.name, self._plan.version)
