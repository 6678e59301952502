"""Trains a classifier on digits: cross entropy on the logits, Adam, one generator for all chance."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqserve_models.augmentation import augment
from seqserve_models.datasets import DigitSet, to_values
from seqserve_models.definition import ModelDefinition, Recipe
from seqserve_models.errors import ModelInvalid, TrainingDiverged
from seqserve_models.progress import EpochReport, Progress


def initialise(definition: ModelDefinition, seed: int) -> nn.Sequential:
    """The untrained module; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return definition.build()


def logits_of(module: nn.Sequential) -> nn.Sequential:
    """The same layers without the softmax. Raises ModelInvalid where the last one is none."""
    if not isinstance(module[-1], nn.Softmax):
        raise ModelInvalid(f"a classifier must end in nn.Softmax, this one ends in {module[-1]}")
    return cast("nn.Sequential", module[:-1])


def train(
    definition: ModelDefinition,
    digits: DigitSet,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    progress: Progress,
) -> nn.Sequential:
    """A trained module on the CPU, in evaluation mode. Raises ModelInvalid, TrainingDiverged."""
    module = initialise(definition, seed).to(device)
    images = torch.from_numpy(to_values(digits.train_images)).to(device)  # [n, 28, 28]
    labels = torch.from_numpy(digits.train_labels).to(device)  # [n]
    generator = torch.Generator().manual_seed(seed)
    steps = recipe.epochs * len(batches(torch.arange(len(images)), recipe.batch_size))
    trainer = _Trainer(definition, logits_of(module), recipe, steps, generator)
    for epoch in range(1, recipe.epochs + 1):
        loss, accuracy = trainer.run_epoch(images, labels)
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"{definition.name}: the loss is {loss} after epoch {epoch} of {recipe.epochs}",
                hint="a smaller learning rate, or a look at the images, may help",
            )
        progress.epoch(EpochReport(epoch, recipe.epochs, loss, accuracy))
    return module.cpu().eval()


def batches(order: Tensor, size: int) -> list[Tensor]:
    """The indices [n] in batches of `size`; a last batch of one joins the one before it.

    Batch norm has no spread to measure on a single example.
    """
    split = list(torch.split(order, size))
    if len(split) > 1 and len(split[-1]) == 1:
        split[-2:] = [torch.cat(split[-2:])]
    return split


class _Trainer:
    """The module being trained, and what moves its weights."""

    def __init__(
        self,
        definition: ModelDefinition,
        logits: nn.Sequential,
        recipe: Recipe,
        steps: int,
        generator: torch.Generator,
    ) -> None:
        self._input_shape = definition.input_shape
        self._logits = logits
        self._recipe = recipe
        self._generator = generator
        self._optimizer = torch.optim.Adam(logits.parameters(), lr=recipe.learning_rate, fused=True)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, steps)

    def run_epoch(self, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """One pass in a new order; mean loss and accuracy."""
        loss, right = 0.0, 0
        order = torch.randperm(len(images), generator=self._generator).to(images.device)
        for batch in batches(order, self._recipe.batch_size):
            batch_loss, batch_right = self._step(images[batch], labels[batch])
            loss += batch_loss * len(batch)
            right += batch_right
        return loss / len(images), right / len(images)

    def _step(self, images: Tensor, labels: Tensor) -> tuple[float, int]:
        """Images [b, 28, 28], labels [b]: one step down; loss and number of right answers."""
        if self._recipe.augmentation is not None:
            images = augment(images, self._recipe.augmentation, self._generator)
        logits = self._logits(images.reshape(-1, *self._input_shape))  # [b, classes]
        loss = functional.cross_entropy(logits, labels)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._optimizer.step()
        self._schedule.step()
        return loss.item(), int((logits.argmax(1) == labels).sum())
