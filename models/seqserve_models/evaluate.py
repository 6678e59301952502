"""How well a trained module does on examples it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from seqserve_models.dataset import Classes, Values


@dataclass(frozen=True, eq=False)
class Evaluation:
    """metrics: by name; `accuracy` is a share, errors are in the target's own unit.

    confusion: of a classifier, int64 [true class, answered class], counts.
    """

    metrics: Mapping[str, float]
    confusion: npt.NDArray[np.int64] | None = None

    @property
    def headline(self) -> str:
        """The figure that matters most, in words."""
        if "accuracy" in self.metrics:
            return f"accuracy {self.metrics['accuracy']:.2%}"
        return f"mean absolute error {self.metrics['mean_absolute_error']:.4g}"


def infer(module: nn.Module, inputs: Values, *, batch_size: int) -> Values:
    """Inputs FP32 [n, *example] to outputs FP32 [n, *output], in batches, on the CPU."""
    with torch.inference_mode():
        outputs = [module(batch) for batch in torch.split(torch.from_numpy(inputs), batch_size)]
        joined: Values = torch.cat(outputs).numpy()
    return joined


def evaluate(outputs: Values, targets: npt.NDArray[Any]) -> Evaluation:
    """Outputs FP32 [n, *output] against classes int64 [n], or against values FP32 [n, *output]."""
    if targets.dtype == np.int64:
        return evaluate_classes(outputs, targets)
    return evaluate_values(outputs, targets)


def evaluate_classes(probabilities: Values, classes: Classes) -> Evaluation:
    """Probabilities FP32 [n, classes] against classes int64 [n]."""
    count = probabilities.shape[1]
    answered = probabilities.argmax(axis=1)
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (classes, answered), 1)
    return Evaluation({"accuracy": float(np.mean(answered == classes))}, confusion)


def evaluate_values(outputs: Values, targets: Values) -> Evaluation:
    """Outputs FP32 [n, *output] against values of the same shape."""
    difference = np.abs(outputs - targets)
    return Evaluation(
        {
            "mean_absolute_error": float(np.mean(difference)),
            "root_mean_square_error": float(np.sqrt(np.mean(np.square(difference)))),
        }
    )
