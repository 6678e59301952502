"""Finds the model that someone names: `FILE.py:NAME`, `package.module:NAME`, or one of the zoo.

A file or module is imported, that is, run; so is NAME where it is a function.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch import nn

from seqserve_models.definition import ModelDefinition
from seqserve_models.errors import ModelInvalid, TargetUnusable, UnknownModel
from seqserve_models.expectations import CONTAINERS, explain_container
from seqserve_models.foreign import call
from seqserve_models.source import FORMS, Source, import_source, searched, source_at
from seqserve_models.zoo import find_model

TO_BUILD = "a build also needs data and shapes; `seqserve new NAME` writes a ModelDefinition to begin with"


@dataclass(frozen=True)
class Target:
    """A definition, and where it was found; a model of the zoo has no source. named: as it was written."""

    definition: ModelDefinition
    named: str
    source: Source | None = None


def load_target(target: str) -> nn.Sequential:
    """The nn.Sequential behind a target.

    NAME is an nn.Sequential, a ModelDefinition, or a function that gives one of them without arguments.
    Raises UnknownModel, TargetUnusable, ModelInvalid.
    """
    if ":" not in target:
        return _find_in_zoo(target).build()
    with searched(_source(target).folders):
        value, verb = _value(target)
        if isinstance(value, ModelDefinition):
            value, verb = call(f"calling build of {target}", value.build), "builds"
    return _sequential(target, value, verb)


def load_definition(target: str) -> Target:
    """The ModelDefinition behind a target, of the zoo or of the user's own.

    NAME is a ModelDefinition or a function that gives one without arguments. Raises UnknownModel,
    TargetUnusable, ModelInvalid.
    """
    if ":" not in target:
        return Target(_find_in_zoo(target), target)
    source = _source(target)
    with searched(source.folders):
        value, verb = _value(target)
    if isinstance(value, ModelDefinition):
        return Target(value, target, source)
    hint = explain_container(value) if isinstance(value, CONTAINERS) else TO_BUILD
    raise ModelInvalid(f"{target} {verb} {_kind(value)}, not a ModelDefinition", hint=hint)


def _find_in_zoo(name: str) -> ModelDefinition:
    try:
        return find_model(name)
    except UnknownModel as error:
        raise UnknownModel(str(error), hint=f"{error.hint}; {FORMS}") from error


def _source(target: str) -> Source:
    place, _, name = target.rpartition(":")
    if not place or not name:
        raise TargetUnusable(f"{target!r} names no model", hint=FORMS)
    return source_at(place)


def _value(target: str) -> tuple[object, str]:
    """What NAME is or, where it is a function, gives; and which of the two."""
    place, _, name = target.rpartition(":")
    value = _find_name(import_source(source_at(place)), place, name)
    if callable(value) and not isinstance(value, nn.Module | ModelDefinition):
        return call(f"calling {target} without arguments", value), "gives"
    return value, "is"


def _find_name(module: ModuleType, place: str, name: str) -> object:
    if name in vars(module):
        return vars(module)[name]
    there = [known for known, value in vars(module).items() if _may_be_model(module, known, value)]
    hint = f"there: {', '.join(there)}" if there else "nothing in it could be a model"
    raise TargetUnusable(f"{place} has no {name!r}", hint=hint)


def _may_be_model(module: ModuleType, name: str, value: object) -> bool:
    if name.startswith("_"):
        return False
    is_own = callable(value) and getattr(value, "__module__", None) == module.__name__
    return is_own or isinstance(value, nn.Module | ModelDefinition)


def _sequential(target: str, value: Any, verb: str) -> nn.Sequential:
    if isinstance(value, nn.Sequential):
        return value
    hint = explain_container(value) if isinstance(value, CONTAINERS) else ""
    raise ModelInvalid(f"{target} {verb} {_kind(value)}, not an nn.Sequential", hint=hint)


def _kind(value: object) -> str:
    return f"an object of class {type(value).__name__}"
