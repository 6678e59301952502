"""A model's weights and how they came about, as a file that `torch.load(..., weights_only=True)` reads.

A finished checkpoint lies beside its archive; equal trainings give equal bytes. An unfinished one also
holds the state of the training, so that it can go on.
"""

from __future__ import annotations

import hashlib
import io
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from seqserve_models.errors import CheckpointUnusable
from seqserve_models.members import without_chance

FORMAT = 1
SHOWN_KEYS = 6
# What going on with an unfinished training asks for.
NAMED = {"name": str, "version": str, "dataset": str, "seed": int, "epochs": int}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """state_dict: of the module. settings: name, version, data set, seed, recipe and what else decided.

    training: what an unfinished training needs to go on; None of a finished one.
    """

    state_dict: Mapping[str, Tensor]
    settings: Mapping[str, Any]
    training: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def is_finished(self) -> bool:
        """Whether its training has come to its end."""
        return self.training is None

    def document(self) -> bytes:
        """As the file holds it."""
        content = {
            "format": FORMAT,
            "settings": dict(self.settings),
            "state_dict": dict(self.state_dict),
            "training": None if self.training is None else dict(self.training),
        }
        target = io.BytesIO()
        torch.save(_plain(content), target)
        return without_chance(target.getvalue())


def _plain(content: Any) -> Any:
    """The same, where equal parts are also saved equally.

    A file also says which texts are one object in memory, and it holds the whole storage of a tensor that
    is a view.
    """
    if isinstance(content, dict):
        return {_plain(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(_plain(value) for value in content)
    if isinstance(content, Tensor):
        return content.detach().cpu().clone(memory_format=torch.contiguous_format)
    return sys.intern(content) if type(content) is str else content


def read_checkpoint(path: Path) -> Checkpoint:
    """A file that a build has written. Raises CheckpointUnusable."""
    try:
        with warnings.catch_warnings():  # torch also warns of what it refuses
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointUnusable(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # torch reads with its own unpickler, which raises what it likes
        raise CheckpointUnusable(
            f"{path} is no checkpoint", hint="a build writes NAME-VERSION.checkpoint.pt"
        ) from error
    if not _is_checkpoint(content):
        raise CheckpointUnusable(
            f"{path} holds no checkpoint of this format",
            hint="`seqserve package` takes weights that were saved elsewhere",
        )
    return Checkpoint(content["state_dict"], content["settings"], content["training"])


def _is_checkpoint(content: Any) -> bool:
    if not isinstance(content, dict) or content.keys() != {"format", "settings", "state_dict", "training"}:
        return False
    is_known = type(content["format"]) is int and content["format"] == FORMAT
    if content["training"] is not None and not _names_its_training(content["settings"]):
        return False
    return is_known and isinstance(content["settings"], dict) and is_state_dict(content["state_dict"])


def _names_its_training(settings: Any) -> bool:
    return isinstance(settings, dict) and all(
        type(settings.get(name)) is kind for name, kind in NAMED.items()
    )


def is_state_dict(content: Any) -> bool:
    """Whether it is tensors by name."""
    return isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    )


def load_weights(module: nn.Module, state_dict: Mapping[str, Tensor], origin: str) -> None:
    """Put weights into a module. Raises CheckpointUnusable, which names the first difference."""
    own = module.state_dict()
    for name in [*own, *state_dict]:
        if name not in state_dict:
            raise CheckpointUnusable(f"{origin} lacks {name!r}", hint=_keys(state_dict))
        if name not in own:
            raise CheckpointUnusable(f"{origin} has {name!r}, which the module lacks", hint=_keys(own))
        if is_lazy(own[name]):  # takes the shape of what it is given
            continue
        came, wanted = list(state_dict[name].shape), list(own[name].shape)
        if came != wanted:
            raise CheckpointUnusable(f"{origin}: {name!r} has shape {came}, the module's has {wanted}")
    module.load_state_dict(dict(state_dict))


def weights_sha256(state_dict: Mapping[str, Tensor]) -> str:
    """Of all names, shapes and numbers, in hex."""
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        tensor = state_dict[name].detach().cpu()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _keys(state_dict: Mapping[str, Tensor]) -> str:
    names = [*state_dict]
    rest = len(names) - SHOWN_KEYS
    return f"there: {', '.join(names[:SHOWN_KEYS])}" + (f" and {rest} more" if rest > 0 else "")
