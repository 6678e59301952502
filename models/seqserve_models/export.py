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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from seqserve_models.errors import ExportFailed
from seqserve_models.foreign import one_line
from seqserve_models.interpreter import StepFailed, run_fresh
from seqserve_models.members import without_chance
from seqserve_models.source import Source, import_source, searched

MODULE_FILE = "module.bin"


def export(module: nn.Module, name: str, source: Source | None = None) -> bytes:
    """TorchScript of a module, as `<name>.pt` holds it. Raises ExportFailed.

    source: the code that its own layer classes come from, where they are not installed.
    """
    with tempfile.TemporaryDirectory(prefix="seqserve-export-") as scratch:
        _save_module(module, Path(scratch, MODULE_FILE))
        _script_fresh(Path(scratch), f"{name}.pt", source)
        return without_chance(Path(scratch, f"{name}.pt").read_bytes())


def check_scriptable(module: nn.Module) -> None:
    """Try it in this process, which costs a moment. Raises ExportFailed."""
    if any(is_lazy(tensor) for tensor in module.parameters()):
        return  # a lazy layer has its weights after the first batch
    try:
        with _torchscript_allowed():
            torch.jit.script(copy.deepcopy(module).eval())
    except Exception as error:
        raise ExportFailed(f"TorchScript cannot be made of the module: {one_line(error)}") from error


def _save_module(module: nn.Module, path: Path) -> None:
    try:
        torch.save(copy.deepcopy(module).cpu().eval().requires_grad_(requires_grad=False), path)
    except Exception as error:
        raise ExportFailed(
            f"the module cannot be handed to a fresh process: {one_line(error)}",
            hint="layer classes belong at the top of a file, and parametrizations are removed before the end",
        ) from error


def _script_fresh(scratch: Path, target: str, source: Source | None) -> None:
    # The order of a class's constants follows the hashes of their names.
    variables = {"PYTHONHASHSEED": "0"}
    arguments = [MODULE_FILE, target, *([source.place, *source.folders] if source else [])]
    try:
        run_fresh(["-m", "seqserve_models.export", *arguments], folder=scratch, variables=variables)
    except StepFailed as error:
        raise ExportFailed(f"TorchScript could not be made of the module: {error}") from error


def load(script: bytes) -> torch.jit.ScriptModule:
    """TorchScript from its bytes, on the CPU."""
    with _torchscript_allowed():
        loaded: torch.jit.ScriptModule = torch.jit.load(io.BytesIO(script), map_location="cpu")  # type: ignore[no-untyped-call]
    return loaded


def save(module_file: Path, target: Path, source: Source | None) -> None:
    """Read a module that `export` has written, write its TorchScript."""
    with searched(source.folders if source else ()):
        if source:
            import_source(source)
        # A module is more than weights; the file is our own, from a folder that only we can enter.
        module: nn.Module = torch.load(module_file, weights_only=False)
        with _torchscript_allowed():
            torch.jit.save(torch.jit.script(module), target)


@contextmanager
def _torchscript_allowed() -> Iterator[None]:
    """Silence torch's advice against TorchScript: an archive's format is TorchScript."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        yield


if __name__ == "__main__":
    module_file, target, *place_and_folders = sys.argv[1:]
    named = Source(place_and_folders[0], tuple(place_and_folders[1:])) if place_and_folders else None
    save(Path(module_file), Path(target), named)
