"""A model's weights and how they came about, as a file that `torch.load(..., weights_only=True)` reads.

A finished checkpoint lies beside its archive; equal trainings give equal bytes. An unfinished one also
holds the state of the training, so that it can go on.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqserve_models.errors import CheckpointUnusable
from seqserve_models.members import without_chance

FORMAT = 1
SHOWN_KEYS = 6


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
            "state_dict": {name: tensor.cpu() for name, tensor in self.state_dict.items()},
            "training": None if self.training is None else dict(self.training),
        }
        target = io.BytesIO()
        torch.save(content, target)
        return without_chance(target.getvalue())


def read_checkpoint(path: Path) -> Checkpoint:
    """A file that a build has written. Raises CheckpointUnusable."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointUnusable(f"{path} cannot be read: {error.strerror or error}") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise CheckpointUnusable(
            f"{path} is no checkpoint", hint="a build writes NAME-VERSION.checkpoint.pt"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointUnusable(
            f"{path} holds no checkpoint of this format",
            hint="`seqserve package` takes weights that were saved elsewhere",
        )
    return Checkpoint(content["state_dict"], content["settings"], content["training"])


def load_weights(module: nn.Module, state_dict: Mapping[str, Tensor], origin: str) -> None:
    """Put weights into a module. Raises CheckpointUnusable, which names the first difference."""
    own = module.state_dict()
    for name in [*own, *state_dict]:
        if name not in state_dict:
            raise CheckpointUnusable(f"{origin} lacks {name!r}", hint=_keys(state_dict))
        if name not in own:
            raise CheckpointUnusable(f"{origin} has {name!r}, which the module lacks", hint=_keys(own))
        came, wanted = list(state_dict[name].shape), list(own[name].shape)
        if came != wanted:
            raise CheckpointUnusable(f"{origin}: {name!r} has shape {came}, the module's has {wanted}")
    module.load_state_dict(dict(state_dict))


def weights_sha256(state_dict: Mapping[str, Tensor]) -> str:
    """Of all names, shapes and numbers, in hex."""
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        tensor = state_dict[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _keys(state_dict: Mapping[str, Tensor]) -> str:
    names = [*state_dict]
    rest = len(names) - SHOWN_KEYS
    return f"there: {', '.join(names[:SHOWN_KEYS])}" + (f" and {rest} more" if rest > 0 else "")
