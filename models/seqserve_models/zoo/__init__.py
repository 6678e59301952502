"""The models that come with the package, by name."""

from __future__ import annotations

from seqserve_models.definition import ModelDefinition
from seqserve_models.errors import UnknownModel
from seqserve_models.zoo.digit_bottleneck import DIGIT_BOTTLENECK
from seqserve_models.zoo.digit_mlp import DIGIT_MLP
from seqserve_models.zoo.digit_nested import DIGIT_NESTED

MODELS: dict[str, ModelDefinition] = {
    definition.name: definition for definition in (DIGIT_MLP, DIGIT_NESTED, DIGIT_BOTTLENECK)
}


def find_model(name: str) -> ModelDefinition:
    """A model of the zoo. Raises UnknownModel."""
    if name not in MODELS:
        raise UnknownModel(f"there is no model {name!r} in the zoo", hint=f"known: {', '.join(MODELS)}")
    return MODELS[name]
