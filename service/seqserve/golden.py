"""The golden check: a loaded model must answer as the eager model did before it was archived."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seqserve.archive import Archive
from seqserve.engines.base import FloatArray, LoadedModel
from seqserve.errors import ArchiveInvalid, EngineContractError
from seqserve.signature import CPU_TOLERANCE, CUDA_TOLERANCE, Tolerance


def tolerance_on(device: str) -> Tolerance:
    """How far two answers may differ on `cpu`, `cuda` or `cuda:N`."""
    return CUDA_TOLERANCE if device.startswith("cuda") else CPU_TOLERANCE


@dataclass(frozen=True, slots=True)
class Golden:
    """What a loaded copy must answer.

    inputs [k, *example] and outputs [k, *output]: FP32, k >= 1. max_batch_size: examples at once.
    """

    inputs: FloatArray
    outputs: FloatArray
    max_batch_size: int

    @classmethod
    def of(cls, archive: Archive) -> Golden:
        """The archive's own rows."""
        return cls(archive.golden_inputs, archive.golden_outputs, archive.signature.max_batch_size)

    async def check(self, model: LoadedModel, device: str) -> float:
        """Run the inputs; return the largest |Δ|. Raises ArchiveInvalid where it is too large."""
        size = self.max_batch_size
        batches = [self.inputs[at : at + size] for at in range(0, len(self.inputs), size)]
        try:
            answered = np.concatenate([await model.infer(batch) for batch in batches])  # [k, *output]
        except EngineContractError as error:
            raise ArchiveInvalid(f"golden check: {error}") from error
        return self._largest_difference(answered, device)

    def _largest_difference(self, answered: FloatArray, device: str) -> float:
        if answered.shape != self.outputs.shape:
            shapes = f"answered shape {answered.shape}, expected {self.outputs.shape}"
            raise ArchiveInvalid(f"golden check: {shapes}")
        difference: FloatArray = np.abs(answered - self.outputs)
        tolerance = tolerance_on(device)
        if not np.all(difference <= tolerance.absolute + tolerance.relative * np.abs(self.outputs)):
            raise ArchiveInvalid(f"golden check: answers differ by up to {difference.max():.3g} on {device}")
        return float(difference.max())


async def check_golden(archive: Archive, model: LoadedModel, device: str) -> float:
    """See Golden.check."""
    return await Golden.of(archive).check(model, device)
