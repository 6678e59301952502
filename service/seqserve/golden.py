"""The golden check: a loaded model must answer as the eager model did before it was archived."""

from __future__ import annotations

import numpy as np

from seqserve.archive import Archive
from seqserve.engines.base import FloatArray, LoadedModel
from seqserve.errors import ArchiveInvalid, EngineContractError
from seqserve.signature import CPU_TOLERANCE, CUDA_TOLERANCE, Tolerance


def tolerance_on(device: str) -> Tolerance:
    """How far two answers may differ on `cpu`, `cuda` or `cuda:N`."""
    return CUDA_TOLERANCE if device.startswith("cuda") else CPU_TOLERANCE


async def check_golden(archive: Archive, model: LoadedModel, device: str) -> float:
    """Run the golden inputs; return the largest |Δ|. Raises ArchiveInvalid where it is too large."""
    try:
        size = archive.signature.max_batch_size
        batches = [archive.golden_inputs[at : at + size] for at in range(0, len(archive.golden_inputs), size)]
        answered = np.concatenate([await model.infer(batch) for batch in batches])  # [k, *output]
    except EngineContractError as error:
        raise ArchiveInvalid(f"golden check: {error}") from error
    expected = archive.golden_outputs
    if answered.shape != expected.shape:
        raise ArchiveInvalid(f"golden check: answered shape {answered.shape}, expected {expected.shape}")
    difference: FloatArray = np.abs(answered - expected)
    tolerance = tolerance_on(device)
    if not np.all(difference <= tolerance.absolute + tolerance.relative * np.abs(expected)):
        raise ArchiveInvalid(f"golden check: answers differ by up to {difference.max():.3g} on {device}")
    return float(difference.max())
