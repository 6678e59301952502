"""Trains a module: all chance comes from one seed, and an interrupted training can go on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from seqserve_models.definition import ModelDefinition, Recipe
from seqserve_models.errors import ModelInvalid, TrainingDiverged
from seqserve_models.examples import Examples
from seqserve_models.foreign import call
from seqserve_models.progress import EpochReport

OnEpoch = Callable[["Training"], None]


def initialise(definition: ModelDefinition, seed: int) -> nn.Sequential:
    """The untrained module; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return definition.build()


def logits_of(module: nn.Sequential, name: str = "the model") -> nn.Sequential:
    """The same layers without the softmax. Raises ModelInvalid where the last one is none."""
    if not len(module) or not isinstance(module[-1], nn.Softmax):
        ends = f"ends in {type(module[-1]).__name__}" if len(module) else "is empty"
        raise ModelInvalid(
            f"a classifier must end in nn.Softmax, {name} {ends}",
            hint="append nn.Softmax(dim=1); what values it should give instead is a regression",
        )
    return cast("nn.Sequential", module[:-1])


class Training:
    """A module on its way, epoch by epoch.

    history: one report for each epoch so far. on_epoch is called after each.
    """

    def __init__(
        self,
        definition: ModelDefinition,
        module: nn.Sequential,
        recipe: Recipe,
        *,
        seed: int,
        device: torch.device,
        steps_an_epoch: int,
    ) -> None:
        self.module = module.to(device).train()
        self.history: list[EpochReport] = []
        self._definition, self._recipe, self._device = definition, recipe, device
        is_classifier = definition.task == "classification"
        self._trained = logits_of(self.module, definition.name) if is_classifier else self.module
        self._loss = definition.loss or (functional.cross_entropy if is_classifier else functional.mse_loss)
        self._is_classifier = is_classifier
        self._seed = seed
        self._order = torch.Generator().manual_seed(seed)
        parameters = [one for one in module.parameters() if one.requires_grad]
        if not parameters:
            raise ModelInvalid(f"{definition.name} has no parameters to train")
        name, steps = definition.name, recipe.epochs * steps_an_epoch
        self._optimizer = call(
            f"{name}: optimizer", lambda: recipe.optimizer(parameters, recipe.learning_rate)
        )
        _check_kind(f"{name}: optimizer", self._optimizer, Optimizer)
        self._schedule = call(f"{name}: schedule", lambda: recipe.schedule(self._optimizer, steps))
        _check_kind(f"{name}: schedule", self._schedule, LRScheduler)
        # torch's global generators of the CPU and of the device, for layers such as Dropout.
        self._chance: Tensor | None = None
        self._device_chance: Tensor | None = None

    def run(self, train: Examples, test: Examples, on_epoch: OnEpoch) -> nn.Sequential:
        """All epochs that are left; the module, on the CPU, in evaluation mode. Raises TrainingDiverged."""
        train, test = train.to(self._device), test.to(self._device)
        started, done_before = time.monotonic(), len(self.history)
        with self._global_chance():
            while len(self.history) < self._recipe.epochs and not self._is_out_of_patience():
                loss, accuracy = self._run_epoch(train)
                report = self._report(loss, accuracy, test)
                seconds = (time.monotonic() - started) / (report.epoch - done_before)
                self.history.append(report.with_seconds_left(seconds * (report.epochs - report.epoch)))
                self._chance = torch.get_rng_state()
                if self._device.type == "cuda":
                    self._device_chance = torch.cuda.get_rng_state(self._device)
                on_epoch(self)
        return self.module.cpu().eval()

    def state(self) -> dict[str, Any]:
        """All that `restore` needs to go on as if nothing had happened; tensors and plain values."""
        return {
            "module": self.module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "order": self._order.get_state(),
            "chance": self._chance,
            "device_chance": self._device_chance,
            "history": [report.document() for report in self.history],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.module.load_state_dict(state["module"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._order.set_state(state["order"])
        self._chance, self._device_chance = state["chance"], state["device_chance"]
        self.history = [EpochReport(**document) for document in state["history"]]

    @contextmanager
    def _global_chance(self) -> Iterator[None]:
        """The global generator of torch follows the seed in here and is as it was afterwards."""
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(self._seed)
            if self._chance is not None:
                torch.set_rng_state(self._chance)
            if self._device_chance is not None:
                torch.cuda.set_rng_state(self._device_chance, self._device)
            yield

    def _is_out_of_patience(self) -> bool:
        losses = [report.loss for report in self.history]
        if self._recipe.patience is None or not losses:
            return False
        return len(losses) - 1 - losses.index(min(losses)) >= self._recipe.patience

    def _run_epoch(self, train: Examples) -> tuple[float, float | None]:
        """One pass in a new order; mean loss, and of a classifier the accuracy."""
        self.module.train()
        loss, right = 0.0, 0
        order = torch.randperm(len(train), generator=self._order).to(self._device)
        for batch in batches(order, self._recipe.batch_size):
            batch_loss, batch_right = self._step(train.inputs[batch], train.targets[batch])
            loss += batch_loss * len(batch)
            right += batch_right
        if isinstance(self._schedule, ReduceLROnPlateau):
            self._schedule.step(loss / len(train))
        return loss / len(train), right / len(train) if self._is_classifier else None

    def _step(self, inputs: Tensor, targets: Tensor) -> tuple[float, int]:
        """Inputs [b, *example]: one step down; loss and number of right answers."""
        if self._recipe.augmentation is not None:
            inputs = self._recipe.augmentation(inputs, self._order)
        outputs = self._trained(inputs.reshape(-1, *self._definition.input_shape))  # [b, *output]
        loss = self._checked(self._loss(outputs, targets))
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._optimizer.step()
        if not isinstance(self._schedule, ReduceLROnPlateau):
            self._schedule.step()
        return loss.item(), self._right(outputs, targets)

    def _checked(self, loss: Any) -> Tensor:
        """What a loss of somebody's own gave. Raises ModelInvalid."""
        if isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad:
            return loss.squeeze()
        came = (
            f"a tensor of shape {[*loss.shape]}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        )
        raise ModelInvalid(
            f"{self._definition.name}: loss gives {came}; accepted: a tensor of one number that was computed "
            "from the outputs"
        )

    def _right(self, outputs: Tensor, targets: Tensor) -> int:
        return int((outputs.argmax(1) == targets).sum()) if self._is_classifier else 0

    def _report(self, loss: float, accuracy: float | None, test: Examples) -> EpochReport:
        """Figures of the epoch that has ended, and of the examples held out. Raises TrainingDiverged."""
        epoch, epochs = len(self.history) + 1, self._recipe.epochs
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"{self._definition.name}: the loss is {loss} after epoch {epoch} of {epochs}",
                hint="a smaller learning rate, or a look at the data, may help",
            )
        test_loss, test_accuracy = self._judge(test)
        return EpochReport(epoch, epochs, loss, accuracy, test_loss, test_accuracy)

    def _judge(self, test: Examples) -> tuple[float, float | None]:
        self.module.eval()
        loss, right = 0.0, 0
        with torch.no_grad():
            for batch in torch.split(torch.arange(len(test)), self._definition.max_batch_size):
                inputs, targets = test.inputs[batch], test.targets[batch]
                outputs = self._trained(inputs.reshape(-1, *self._definition.input_shape))
                loss += self._loss(outputs, targets).item() * len(batch)
                right += self._right(outputs, targets)
        return loss / len(test), right / len(test) if self._is_classifier else None


def _check_kind(what: str, came: object, wanted: type) -> None:
    if not isinstance(came, wanted):
        raise ModelInvalid(f"{what} gives an object of class {type(came).__name__}, not a {wanted.__name__}")


def batches(order: Tensor, size: int) -> list[Tensor]:
    """The indices [n] in batches of `size`; a last batch of one joins the one before it.

    Batch norm has no spread to measure on a single example.
    """
    split = list(torch.split(order, size))
    if len(split) > 1 and len(split[-1]) == 1:
        split[-2:] = [torch.cat(split[-2:])]
    return split
