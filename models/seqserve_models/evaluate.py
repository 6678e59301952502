"""How well a trained classifier does on images it has not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """accuracy: share of right answers. confusion: int64 [true class, answered class], counts."""

    accuracy: float
    confusion: npt.NDArray[np.int64]


def infer(module: nn.Module, inputs: Values, *, batch_size: int) -> Values:
    """Inputs FP32 [n, *example] to outputs FP32 [n, *output], in batches, on the CPU."""
    with torch.inference_mode():
        outputs = [module(batch) for batch in torch.split(torch.from_numpy(inputs), batch_size)]
        joined: Values = torch.cat(outputs).numpy()
    return joined


def evaluate(probabilities: Values, labels: npt.NDArray[np.int64]) -> Evaluation:
    """Probabilities FP32 [n, classes] against labels int64 [n]."""
    classes = probabilities.shape[1]
    answered = probabilities.argmax(axis=1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, answered), 1)
    return Evaluation(accuracy=float(np.mean(answered == labels)), confusion=confusion)
