"""Defines, trains, exports, verifies and archives nn.Sequential models.

What a definition of one's own needs is here: ModelDefinition, Recipe, Dataset and their parts. They are
imported when they are asked for, so that keys and attestations, which need no torch, do not wait for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seqserve_models.dataset import DataOptions, Dataset, hold_out
    from seqserve_models.definition import Derivation, ExampleShape, ModelDefinition, Recipe

__all__ = [
    "DataOptions",
    "Dataset",
    "Derivation",
    "ExampleShape",
    "ModelDefinition",
    "Recipe",
    "hold_out",
]

_OF_DATASET = frozenset({"DataOptions", "Dataset", "hold_out"})


def __getattr__(name: str) -> object:
    """One of `__all__`, from its own module."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "dataset" if name in _OF_DATASET else "definition"
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
