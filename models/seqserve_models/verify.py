"""Proves that exported TorchScript answers as the module it was made of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from seqserve_models.dataset import Values
from seqserve_models.definition import ModelInterface
from seqserve_models.errors import ExportDiffers
from seqserve_models.evaluate import infer
from seqserve_models.export import load
from seqserve_models.foreign import first_line
from seqserve_models.signature import CPU_TOLERANCE, Tolerance

SINGLES = 32


def verify(script: bytes, interface: ModelInterface, inputs: Values, expected: Values) -> float:
    """Compare with what the module gave, in batches and one by one; return the largest |Δ|.

    inputs: FP32 [n, *example]; expected: FP32 [n, *output]. Raises ExportDiffers.
    """
    module = load(script)
    batched = _answers(module, inputs, interface.max_batch_size)
    check_outputs(interface, batched)
    picked = np.linspace(0, len(inputs) - 1, min(SINGLES, len(inputs)), dtype=np.int64)
    singles = _answers(module, inputs[picked], 1)
    check_outputs(interface, singles)
    return max(
        largest_difference(batched, expected, "TorchScript and the module"),
        largest_difference(singles, expected[picked], "TorchScript one by one and the module"),
    )


def _answers(module: torch.nn.Module, inputs: Values, batch_size: int) -> Values:
    try:
        return infer(module, inputs, batch_size=batch_size)
    except Exception as error:  # the layers are somebody else's
        what = "one example" if batch_size == 1 else "a batch"
        raise ExportDiffers(f"TorchScript does not take {what}: {first_line(error)}") from error


def check_outputs(interface: ModelInterface, outputs: Values) -> None:
    """FP32, shape, finite, and for a classifier rows of probabilities that sum to 1. Raises ExportDiffers."""
    if outputs.dtype != np.float32:
        raise ExportDiffers(f"an output is {outputs.dtype}; accepted: float32")
    if outputs.shape[1:] != interface.output_shape:
        raise ExportDiffers(f"an output has shape {outputs.shape[1:]}, expected {interface.output_shape}")
    if not np.isfinite(outputs).all():
        raise ExportDiffers("an output is not finite")
    if interface.task == "classification":
        if outputs.min() < 0:
            raise ExportDiffers(f"a probability is {outputs.min():g}; a classification ends in a softmax")
        ones: npt.NDArray[np.float32] = np.ones(len(outputs), np.float32)
        largest_difference(outputs.sum(axis=1), ones, "the sum of the probabilities and 1")


def largest_difference(
    came: Values, expected: Values, what: str, tolerance: Tolerance = CPU_TOLERANCE
) -> float:
    """Largest |Δ| of two arrays of one shape. Raises ExportDiffers where it exceeds the tolerance."""
    difference = np.abs(came - expected)
    too_far = difference > tolerance.absolute + tolerance.relative * np.abs(expected)
    if too_far.any() or not np.isfinite(difference).all():
        raise ExportDiffers(
            f"{what} differ by up to {difference.max():.3g} in {int(too_far.sum())} of {too_far.size} "
            f"numbers; tolerance {tolerance.absolute:g} + {tolerance.relative:g}·|expected|"
        )
    return float(difference.max())
