"""Training: what it leaves alone, what it repeats, how it goes on and how it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from seqserve_models.dataset import DataOptions, Dataset
from seqserve_models.definition import ModelDefinition, Recipe
from seqserve_models.errors import ModelInvalid, TrainingDiverged
from seqserve_models.examples import prepare
from seqserve_models.threads import fixed_threads
from seqserve_models.train import Training, batches, initialise, logits_of
from seqserve_models.zoo import find_model

CPU = torch.device("cpu")


def begin(definition: ModelDefinition, recipe: Recipe, *, seed: int = 0) -> Training:
    """A training before its first step; 3 batches of 32 are an epoch of the rows."""
    module = initialise(definition, seed)
    return Training(definition, module, recipe, seed=seed, device=CPU, steps_an_epoch=3)


def finish(
    training: Training,
    definition: ModelDefinition,
    recipe: Recipe,
    on_epoch: Callable[[Training], None] = lambda _: None,
) -> nn.Sequential:
    with fixed_threads():
        return training.run(*prepare(definition, recipe.load(DataOptions())), on_epoch)


def run(definition: ModelDefinition, recipe: Recipe, *, seed: int = 0) -> nn.Sequential:
    return finish(begin(definition, recipe, seed=seed), definition, recipe)


def weights(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


@pytest.fixture
def recipe(definition: ModelDefinition) -> Recipe:
    return definition.recipes["rows"]


def test_the_seed_decides_the_weights(definition: ModelDefinition, recipe: Recipe) -> None:
    first = weights(run(definition, recipe, seed=1))
    assert torch.equal(first, weights(run(definition, recipe, seed=1)))
    assert not torch.equal(first, weights(run(definition, recipe, seed=2)))


def with_dropout() -> nn.Sequential:
    return nn.Sequential(nn.Dropout(0.5), nn.Linear(784, 10), nn.Softmax(dim=1))


def test_the_seed_decides_the_chance_of_layers_as_well(definition: ModelDefinition, recipe: Recipe) -> None:
    dropping = replace(definition, build=with_dropout)
    torch.manual_seed(1)
    first = weights(run(dropping, recipe))
    torch.manual_seed(2)
    assert torch.equal(first, weights(run(dropping, recipe)))


def test_every_epoch_is_told_and_the_loss_falls(definition: ModelDefinition, recipe: Recipe) -> None:
    longer = replace(recipe, epochs=20, learning_rate=1e-2)
    training = begin(definition, longer)
    told: list[int] = []
    finish(training, definition, longer, lambda ran: told.append(len(ran.history)))
    first, *_, last = training.history
    assert told == list(range(1, 21)) == [report.epoch for report in training.history]
    assert last.loss < first.loss / 2
    assert last.test_loss < first.test_loss
    assert last.accuracy is not None
    assert last.accuracy > 0.9
    assert last.seconds_left == 0 < first.seconds_left


def test_a_trained_module_gives_probabilities(definition: ModelDefinition, recipe: Recipe) -> None:
    module = run(definition, recipe)
    assert not module.training
    with torch.no_grad():
        sums = module(torch.rand(5, 784)).sum(1)
    torch.testing.assert_close(sums, torch.ones(5))


def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(
    definition: ModelDefinition, recipe: Recipe
) -> None:
    dropping, longer = replace(definition, build=with_dropout), replace(recipe, epochs=6)

    def interrupt(training: Training) -> None:
        if len(training.history) == 2:
            raise KeyboardInterrupt

    training = begin(dropping, longer)
    with pytest.raises(KeyboardInterrupt):
        finish(training, dropping, longer, interrupt)
    continued = begin(dropping, longer)
    continued.restore(training.state())
    module = finish(continued, dropping, longer)

    whole = begin(dropping, longer)
    assert torch.equal(weights(module), weights(finish(whole, dropping, longer)))
    documents = [[report.document() for report in ran.history] for ran in (continued, whole)]
    assert documents[0] == documents[1]
    assert len(documents[0]) == 6


def test_patience_ends_a_training_whose_loss_does_not_fall(
    definition: ModelDefinition, recipe: Recipe
) -> None:
    still = replace(recipe, epochs=50, learning_rate=1e-30, patience=3)
    training = begin(definition, still)
    finish(training, definition, still)
    assert 4 <= len(training.history) < 50


def test_torchs_own_optimizers_and_schedules_fit(definition: ModelDefinition, recipe: Recipe) -> None:
    rates: list[float] = []
    optimizers: list[torch.optim.Optimizer] = []

    def sgd(parameters: list[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        optimizers.append(torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9))
        return optimizers[-1]

    stubborn = replace(
        recipe,
        epochs=4,
        learning_rate=1e-30,
        optimizer=sgd,
        schedule=lambda optimizer, _: ReduceLROnPlateau(optimizer, patience=0, threshold=0.5, eps=0),
    )
    training = begin(definition, stubborn)
    finish(training, definition, stubborn, lambda _: rates.append(optimizers[0].param_groups[0]["lr"]))
    np.testing.assert_allclose(np.array(rates) / 1e-30, [1, 0.1, 0.01, 0.001])


def test_frozen_layers_stay_as_they_are(definition: ModelDefinition, recipe: Recipe) -> None:
    def frozen() -> nn.Sequential:
        module = find_model("digit_mlp").build()
        module[0].requires_grad_(requires_grad=False)
        return module

    freezing = replace(definition, build=frozen)
    before, after = initialise(freezing, 0), run(freezing, recipe)
    assert torch.equal(weights(before[:1]), weights(after[:1]))
    assert not torch.equal(weights(before[2:]), weights(after[2:]))


def test_a_regression_learns_values(recipe: Recipe) -> None:
    def load_double(_: DataOptions) -> Dataset:
        x = np.linspace(-1, 1, 64, dtype=np.float32)[:, np.newaxis]
        return Dataset(x, 2 * x, x[::4], 2 * x[::4])

    double = replace(find_model("line"), recipes={"double": recipe})
    quick = replace(recipe, load=load_double, epochs=200, learning_rate=0.1)
    module = run(double, quick)
    with torch.no_grad():
        assert module(torch.tensor([[0.5]])).item() == pytest.approx(1, abs=1e-3)


def test_a_loss_of_ones_own_is_what_goes_down(definition: ModelDefinition, recipe: Recipe) -> None:
    def to_zero(logits: Tensor, _: Tensor) -> Tensor:
        return logits.square().mean()

    own = replace(definition, loss=to_zero)
    module = run(own, replace(recipe, epochs=20, learning_rate=1e-2))
    with torch.no_grad():
        assert module[:-1](torch.rand(5, 784)).abs().max() < 0.5


def test_chance_and_threads_of_the_caller_stay_as_they_were(
    definition: ModelDefinition, recipe: Recipe
) -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with fixed_threads(threads + 1):
        run(definition, recipe, seed=5)
        assert torch.get_num_threads() == threads + 1
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loss_that_is_no_number_is_an_error(definition: ModelDefinition, recipe: Recipe) -> None:
    with pytest.raises(TrainingDiverged, match=r"digit_mlp: the loss is (nan|inf) after epoch 1 of 2"):
        run(definition, replace(recipe, learning_rate=1e30))


@pytest.mark.parametrize(
    ("module", "says"),
    [(nn.Sequential(nn.Linear(2, 2)), "the model ends in Linear"), (nn.Sequential(), "the model is empty")],
)
def test_a_classifier_without_softmax_is_refused(module: nn.Sequential, says: str) -> None:
    with pytest.raises(ModelInvalid, match=r"must end in nn\.Softmax, " + says):
        logits_of(module)


def test_a_module_with_nothing_to_train_is_refused(definition: ModelDefinition, recipe: Recipe) -> None:
    with pytest.raises(ModelInvalid, match="digit_mlp has no parameters to train"):
        begin(replace(definition, build=lambda: nn.Sequential(nn.Flatten(), nn.Softmax(dim=1))), recipe)


def test_a_last_batch_of_one_joins_the_one_before_it() -> None:
    def sizes(examples: int, size: int) -> list[int]:
        return [len(batch) for batch in batches(torch.arange(examples), size)]

    assert sizes(9, 4) == [4, 5]
    assert sizes(10, 4) == [4, 4, 2]
    assert sizes(8, 4) == [4, 4]
    assert sizes(1, 4) == [1]
    assert torch.equal(torch.cat(batches(torch.arange(9), 4)), torch.arange(9))


def test_batch_norm_trains_on_one_example_more_than_full_batches(
    definition: ModelDefinition, recipe: Recipe
) -> None:
    def normalised() -> nn.Sequential:
        return nn.Sequential(nn.Linear(784, 10), nn.BatchNorm1d(10), nn.Softmax(dim=1))

    module = run(replace(definition, build=normalised), replace(recipe, batch_size=95))
    assert torch.isfinite(weights(module)).all()


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (lambda *_: 1.0, "loss gives a float; accepted: a tensor of one number"),
        (lambda logits, _: logits.mean(1), r"loss gives a tensor of shape \[32\]"),
        (lambda logits, _: logits.mean().detach(), r"loss gives a tensor of shape \[\]"),
    ],
)
def test_a_loss_that_cannot_go_down_is_refused(
    definition: ModelDefinition, recipe: Recipe, loss: Any, says: str
) -> None:
    with pytest.raises(ModelInvalid, match=f"digit_mlp: {says}"):
        run(replace(definition, loss=loss), recipe)


@pytest.mark.parametrize("field", ["optimizer", "schedule"])
def test_what_is_no_optimizer_or_schedule_is_refused(
    definition: ModelDefinition, recipe: Recipe, field: str
) -> None:
    nothing: Any = {field: lambda *_: None}
    with pytest.raises(ModelInvalid, match=f"digit_mlp: {field} gives an object of class NoneType"):
        begin(definition, replace(recipe, **nothing))
