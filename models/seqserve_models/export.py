"""A trained module as TorchScript, in bytes that depend on its layers and weights alone.

TorchScript's class names carry a counter that lives as long as the process, and the file's stem is a
folder inside the file. So a fresh process (`python -m seqserve_models.export`) does the export, to a
fixed name, and what still differs between two folders is dropped afterwards.
"""

from __future__ import annotations

import copy
import io
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from seqserve_models.errors import ExportFailed
from seqserve_models.interpreter import StepFailed, run_fresh
from seqserve_models.members import Members, write_zip

MODULE_FILE = "module.bin"
# The first holds absolute paths for error texts, the second is random; loading needs neither.
DROPPED_SUFFIXES = (".debug_pkl", "/.data/serialization_id")


def export(module: nn.Module, name: str) -> bytes:
    """TorchScript of a module, as `<name>.pt` holds it. Raises ExportFailed."""
    with tempfile.TemporaryDirectory(prefix="seqserve-export-") as scratch:
        frozen = copy.deepcopy(module).cpu().eval().requires_grad_(requires_grad=False)
        torch.save(frozen, Path(scratch, MODULE_FILE))
        _script_fresh(Path(scratch), f"{name}.pt")
        return normalise(Path(scratch, f"{name}.pt").read_bytes())


def _script_fresh(scratch: Path, target: str) -> None:
    # The order of a class's constants follows the hashes of their names.
    variables = {"PYTHONHASHSEED": "0"}
    try:
        run_fresh(["-m", "seqserve_models.export", MODULE_FILE, target], folder=scratch, variables=variables)
    except StepFailed as error:
        raise ExportFailed(f"TorchScript could not be made of the module: {error}") from error


def normalise(script: bytes) -> bytes:
    """The same TorchScript without the records that differ between two exports."""
    with zipfile.ZipFile(io.BytesIO(script)) as saved:
        members: Members = {
            name: saved.read(name) for name in saved.namelist() if not name.endswith(DROPPED_SUFFIXES)
        }
    return write_zip(members, compression=zipfile.ZIP_STORED)


def load(script: bytes) -> torch.jit.ScriptModule:
    """TorchScript from its bytes, on the CPU."""
    with _torchscript_allowed():
        loaded: torch.jit.ScriptModule = torch.jit.load(io.BytesIO(script), map_location="cpu")  # type: ignore[no-untyped-call]
    return loaded


def save(source: Path, target: Path) -> None:
    """Read a module that `export` has written, write its TorchScript."""
    # A module is more than weights; the file is our own, from a folder that only we can enter.
    module: nn.Module = torch.load(source, weights_only=False)
    with _torchscript_allowed():
        torch.jit.save(torch.jit.script(module), target)


@contextmanager
def _torchscript_allowed() -> Iterator[None]:
    """Silence torch's advice against TorchScript: an archive's format is TorchScript."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        yield


if __name__ == "__main__":
    save(Path(sys.argv[1]), Path(sys.argv[2]))
