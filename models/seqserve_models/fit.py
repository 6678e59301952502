"""Fits a planned model to its examples: from the weights it begins with to those that are kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from seqserve_models.checkpoint import Checkpoint, load_weights
from seqserve_models.errors import CheckpointUnusable, ModelInvalid, StoreUnwritable, TrainingDiverged
from seqserve_models.examples import Examples
from seqserve_models.foreign import call, first_line
from seqserve_models.plan import BuildPlan
from seqserve_models.progress import EpochReport, Progress
from seqserve_models.train import Training, batches, initialise
from seqserve_models.unfinished import Unfinished


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained module on the CPU, in evaluation mode, and how it came about.

    unfinished: to keep or to drop, until the archive is published.
    """

    module: nn.Sequential
    history: tuple[EpochReport, ...]
    checkpoint: Checkpoint
    unfinished: Unfinished


def fit(
    plan: BuildPlan, base: Checkpoint | None, train: Examples, test: Examples, progress: Progress
) -> Fitted:
    """Train, or go on with a training; base: trained weights for a derived model.

    Raises ModelInvalid, TrainingDiverged, CheckpointUnusable, StoreUnwritable, TargetUnusable.
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
    if plan.resumed is not None:
        settings = {**plan.resumed.settings, "version": plan.version}
        _restore(training, plan.resumed, progress)
    unfinished = Unfinished(plan, settings, progress)
    module = _run(training, train, test, unfinished, plan.definition.name)
    if len(training.history) < plan.recipe.epochs:
        last, patience = len(training.history), plan.recipe.patience
        progress.step(f"ended after epoch {last}: no smaller loss for {patience} epochs")
    checkpoint = Checkpoint(module.state_dict(), settings)
    return Fitted(module, tuple(training.history), checkpoint, unfinished)


def begin(plan: BuildPlan, base: Checkpoint | None) -> nn.Sequential:
    """The module before its first step. Raises CheckpointUnusable."""
    derivation = plan.definition.derivation
    if plan.start is None and derivation is not None and base is not None:
        trained = initialise(derivation.base, plan.seed)
        load_weights(trained, base.state_dict, f"the checkpoint of {derivation.base.name}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            return call(f"{plan.definition.name}: edit", lambda: derivation.edit(trained))
    module = initialise(plan.definition, plan.seed)
    if plan.start is not None:
        origin = f"the checkpoint of {plan.start.settings.get('name')}"
        load_weights(module, plan.start.state_dict, origin)
    return module


def _run(
    training: Training, train: Examples, test: Examples, unfinished: Unfinished, name: str
) -> nn.Sequential:
    try:
        return training.run(train, test, unfinished.follow)
    except TrainingDiverged:
        unfinished.drop()  # going on would end in the same way
        raise
    except StoreUnwritable:  # what was written before is still good
        raise
    except (KeyboardInterrupt, ModelInvalid):
        unfinished.keep()
        raise
    except Exception as error:  # layers, loss, optimizer and augmentation may be the user's own
        unfinished.keep()
        raise ModelInvalid(
            f"{name}: training raises {type(error).__name__}: {first_line(error)}",
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
