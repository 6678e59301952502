"""What the other servers get of an archive: its TorchScript as a file, and how large an example is."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

from bench.peers.programs import FILE_VARIABLE, SIZE_VARIABLE
from seqserve.archive import read_archive
from seqserve.trust import UNCHECKED

ROOT = Path(__file__).parents[2]
FP32_BYTES = 4


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Of one model. torchscript: a file of its own. inputs, outputs: values of one example, name first."""

    name: str
    torchscript: Path
    inputs: tuple[str, int]
    outputs: tuple[str, int]

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a program that runs it; nothing of ours is searched but this repository."""
        return {
            FILE_VARIABLE: str(self.torchscript),
            SIZE_VARIABLE: str(self.inputs[1] * FP32_BYTES),
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
        }


def model_files(archive: Path, folder: Path) -> ModelFiles:
    """Write them. Raises ArchiveInvalid."""
    packed = read_archive(archive, UNCHECKED)
    torchscript = folder / f"{packed.name}.pt"
    torchscript.write_bytes(packed.torchscript)
    return ModelFiles(
        packed.name,
        torchscript,
        (packed.signature.input.name, prod(packed.golden_inputs.shape[1:])),
        (packed.signature.output.name, prod(packed.golden_outputs.shape[1:])),
    )
