"""Training: what it leaves alone, what it repeats, how it fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from seqserve_models.datasets import DigitSet
from seqserve_models.definition import ModelDefinition, Recipe
from seqserve_models.errors import ModelInvalid, TrainingDiverged
from seqserve_models.progress import EpochReport, Progress, SilentProgress
from seqserve_models.threads import fixed_threads
from seqserve_models.train import batches, initialise, logits_of, train

CPU = torch.device("cpu")


class RecordingProgress(SilentProgress):
    """Remembers every epoch."""

    def __init__(self) -> None:
        self.epochs: list[EpochReport] = []

    def epoch(self, report: EpochReport) -> None:
        self.epochs.append(report)


def run(
    definition: ModelDefinition,
    rows: DigitSet,
    recipe: Recipe,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> nn.Sequential:
    with fixed_threads():
        return train(definition, rows, recipe, seed=seed, device=CPU, progress=progress or SilentProgress())


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_the_seed_decides_the_weights(definition: ModelDefinition, rows: DigitSet) -> None:
    recipe = definition.recipes["digits"]
    first = weights(run(definition, rows, recipe, seed=1))
    assert torch.equal(first, weights(run(definition, rows, recipe, seed=1)))
    assert not torch.equal(first, weights(run(definition, rows, recipe, seed=2)))


def test_every_epoch_is_told_and_the_loss_falls(definition: ModelDefinition, rows: DigitSet) -> None:
    recipe = replace(definition.recipes["digits"], epochs=20, learning_rate=1e-2)
    progress = RecordingProgress()
    run(definition, rows, recipe, progress=progress)
    assert [report.epoch for report in progress.epochs] == list(range(1, 21))
    assert progress.epochs[-1].loss < progress.epochs[0].loss / 2
    assert progress.epochs[-1].accuracy > 0.9


def test_a_trained_module_gives_probabilities(definition: ModelDefinition, rows: DigitSet) -> None:
    module = run(definition, rows, definition.recipes["digits"])
    assert not module.training
    with torch.no_grad():
        sums = module(torch.rand(5, 784)).sum(1)
    torch.testing.assert_close(sums, torch.ones(5))


def test_chance_and_threads_of_the_caller_stay_as_they_were(definition: ModelDefinition) -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with fixed_threads(threads + 1):
        initialise(definition, seed=5)
        assert torch.get_num_threads() == threads + 1
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loss_that_is_no_number_is_an_error(definition: ModelDefinition, rows: DigitSet) -> None:
    recipe = replace(definition.recipes["digits"], learning_rate=1e30)
    with pytest.raises(TrainingDiverged, match=r"digit_mlp: the loss is (nan|inf) after epoch 1 of 2"):
        run(definition, rows, recipe)


def test_a_classifier_without_softmax_is_refused() -> None:
    with pytest.raises(ModelInvalid, match=r"must end in nn\.Softmax, this one ends in Linear"):
        logits_of(nn.Sequential(nn.Linear(2, 2)))


def test_a_last_batch_of_one_joins_the_one_before_it() -> None:
    def sizes(examples: int, size: int) -> list[int]:
        return [len(batch) for batch in batches(torch.arange(examples), size)]

    assert sizes(9, 4) == [4, 5]
    assert sizes(10, 4) == [4, 4, 2]
    assert sizes(8, 4) == [4, 4]
    assert sizes(1, 4) == [1]
    assert torch.equal(torch.cat(batches(torch.arange(9), 4)), torch.arange(9))


def test_batch_norm_trains_on_one_example_more_than_full_batches(
    definition: ModelDefinition, rows: DigitSet
) -> None:
    def normalised() -> nn.Sequential:
        return nn.Sequential(nn.Linear(784, 10), nn.BatchNorm1d(10), nn.Softmax(dim=1))

    recipe = replace(definition.recipes["digits"], batch_size=len(rows.train_images) - 1)
    module = run(replace(definition, build=normalised), rows, recipe)
    assert torch.isfinite(weights(module)).all()
