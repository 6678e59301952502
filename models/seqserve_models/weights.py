"""Files of models that were trained elsewhere: TorchScript, a state_dict, or a checkpoint of a build."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from seqserve_models.checkpoint import is_state_dict
from seqserve_models.errors import WeightsUnusable
from seqserve_models.export import load
from seqserve_models.foreign import first_line

CODE = "/code/"


def read_torchscript(path: Path) -> tuple[bytes, torch.jit.ScriptModule]:
    """The file as it is, and its module on the CPU. Raises WeightsUnusable."""
    content = _read(path)
    if not _is_torchscript(path):
        raise WeightsUnusable(
            f"{path} holds no TorchScript",
            hint="weights alone need the layers: add --definition FILE.py:NAME",
        )
    try:
        module = load(content)
    except (RuntimeError, ValueError, torch.jit.Error) as error:
        raise WeightsUnusable(f"{path} cannot be loaded: {first_line(error)}") from error
    # A frozen module has no such attribute: it is in evaluation mode for good.
    if any(getattr(part, "training", False) for part in module.modules()):
        raise WeightsUnusable(
            f"{path} was saved for training, where layers such as Dropout answer by chance",
            hint="call .eval() on the module before torch.jit.script",
        )
    return content, module


def read_state_dict(path: Path) -> Mapping[str, Tensor]:
    """Weights by name, on the CPU; nothing in the file is run. Raises WeightsUnusable."""
    _read(path)
    if _is_torchscript(path):
        raise WeightsUnusable(
            f"{path} holds TorchScript, which needs no definition", hint="describe it by --signature FILE"
        )
    try:
        with warnings.catch_warnings():  # torch also warns of what it refuses
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch reads with its own unpickler, which raises what it likes
        raise WeightsUnusable(
            f"{path} holds no state_dict",
            hint="a whole module would run code when it is read: torch.save(module.state_dict(), path)",
        ) from error
    if isinstance(content, dict) and content.get("training") is not None:
        raise WeightsUnusable(
            f"{path} is of an unfinished training", hint="finish it: seqserve build --from-checkpoint"
        )
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not is_state_dict(content):
        raise WeightsUnusable(f"{path} holds a {type(content).__name__}, not tensors by name")
    weights: Mapping[str, Tensor] = content
    return weights


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsUnusable(f"{path} cannot be read: {error.strerror or error}") from error


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as saved:
            return any(CODE in name for name in saved.namelist())
    except zipfile.BadZipFile:
        return False
