"""Finds the nn.Sequential that someone names: `FILE.py:NAME`, `package.module:NAME`, or one of the zoo.

A file or module is imported, that is, run; so is NAME where it is a function.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from torch import nn

from seqserve_models.definition import ModelDefinition
from seqserve_models.errors import ModelInvalid, TargetUnusable, UnknownModel
from seqserve_models.expectations import CONTAINERS, explain_container
from seqserve_models.shapes import first_line
from seqserve_models.zoo import find_model

Result = TypeVar("Result")
FORMS = "a target is FILE.py:NAME, package.module:NAME or a model of the zoo"


def load_target(target: str) -> nn.Sequential:
    """The nn.Sequential behind a target.

    NAME is an nn.Sequential, a function that makes one without arguments, or a ModelDefinition. While a
    file is imported its folder and the current one are searched for modules, in this order; for a module
    it is the current folder. Raises UnknownModel, TargetUnusable, ModelInvalid.
    """
    place, colon, name = target.rpartition(":")
    if not colon:
        return _built(target, _find_in_zoo(target).build)
    if not place or not name:
        raise TargetUnusable(f"{target!r} names no model", hint=FORMS)
    is_file = place.endswith(".py") or "/" in place
    folders = [Path(place).resolve().parent, Path.cwd()] if is_file else [Path.cwd()]
    with _searched(folders):
        module = _import_file(Path(place)) if is_file else _import_module(place)
        value = _find_name(module, place, name)
        if isinstance(value, ModelDefinition):
            value = value.build
        if callable(value) and not isinstance(value, nn.Module):
            return _built(target, value)
    return _sequential(target, value)


def _find_in_zoo(name: str) -> ModelDefinition:
    try:
        return find_model(name)
    except UnknownModel as error:
        raise UnknownModel(str(error), hint=f"{error.hint}; {FORMS}") from error


@contextmanager
def _searched(folders: list[Path]) -> Iterator[None]:
    """Put folders in front of where Python looks for modules."""
    before = sys.path.copy()
    sys.path[:0] = [str(folder) for folder in folders]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise TargetUnusable(f"there is no file {path}", hint=FORMS)
    # A prefix, so that a file called torch.py hides nothing.
    spec = importlib.util.spec_from_file_location(f"seqserve_target_{path.stem}", path.resolve())
    if spec is None or spec.loader is None:
        raise TargetUnusable(f"{path} is no Python file", hint=FORMS)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # where dataclasses and pickle look for it
    execute = spec.loader.exec_module
    _run(f"importing {path}", lambda: execute(module))
    return module


def _import_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise TargetUnusable(f"{name!r} is neither a Python file nor a module's name", hint=FORMS)
    return _run(f"importing {name}", lambda: importlib.import_module(name))


def _run(what: str, call: Callable[[], Result]) -> Result:
    try:
        return call()
    except (Exception, SystemExit) as error:
        raise TargetUnusable(
            f"{what} raises {type(error).__name__}: {first_line(error)}", hint=_hint(error)
        ) from error


def _hint(error: BaseException) -> str:
    if "no known parent package" in str(error):
        return "a file with relative imports is part of a package; name it as package.module:NAME"
    if isinstance(error, SystemExit):
        return 'what should run only as a program belongs under `if __name__ == "__main__":`'
    return ""


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


def _built(target: str, make: Callable[[], object]) -> nn.Sequential:
    return _sequential(target, _run(f"calling {target} without arguments", make), verb="gives")


def _sequential(target: str, value: object, verb: str = "is") -> nn.Sequential:
    if isinstance(value, nn.Sequential):
        return value
    kind = type(value).__name__
    hint = explain_container(value) if isinstance(value, CONTAINERS) else ""
    raise ModelInvalid(f"{target} {verb} an object of class {kind}, not an nn.Sequential", hint=hint)
