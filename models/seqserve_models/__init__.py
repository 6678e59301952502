"""Defines, trains, exports, verifies and archives nn.Sequential models.

What a definition of one's own needs is here: ModelDefinition, Recipe, Dataset and their parts.
"""

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
