"""The models that come with the package, by name."""

from __future__ import annotations

from seqserve_models.definition import ModelDefinition
from seqserve_models.errors import UnknownDataset, UnknownModel
from seqserve_models.zoo.digit_bottleneck import DIGIT_BOTTLENECK
from seqserve_models.zoo.digit_mlp import DIGIT_MLP
from seqserve_models.zoo.digit_nested import DIGIT_NESTED
from seqserve_models.zoo.digit_parity import DIGIT_PARITY
from seqserve_models.zoo.line import LINE

MODELS: dict[str, ModelDefinition] = {
    definition.name: definition
    for definition in (DIGIT_MLP, DIGIT_NESTED, DIGIT_BOTTLENECK, DIGIT_PARITY, LINE)
}


def models_for(dataset: str | None) -> tuple[str, ...]:
    """Names of the models that are trained on a data set; None is each one's own. Raises UnknownDataset."""
    names = tuple(name for name, model in MODELS.items() if dataset is None or dataset in model.recipes)
    if not names:
        known = dict.fromkeys(recipe for model in MODELS.values() for recipe in model.recipes)
        raise UnknownDataset(f"no model is trained on {dataset!r}", hint=f"known: {', '.join(known)}")
    return names


def find_model(name: str) -> ModelDefinition:
    """A model of the zoo. Raises UnknownModel."""
    if name not in MODELS:
        raise UnknownModel(f"there is no model {name!r} in the zoo", hint=f"known: {', '.join(MODELS)}")
    return MODELS[name]
