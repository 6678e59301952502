"""Python code that somebody has named, a file or a module, and how it is imported: that is, run."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from seqserve_models.errors import TargetUnusable
from seqserve_models.foreign import call

FORMS = "a target is FILE.py:NAME, package.module:NAME or a model of the zoo"


@dataclass(frozen=True)
class Source:
    """place: path of a file, or name of a module. folders: searched for the modules that it imports."""

    place: str
    folders: tuple[str, ...]

    @property
    def is_file(self) -> bool:
        """Whether the place is a path."""
        return self.place.endswith(".py") or "/" in self.place

    @property
    def module_name(self) -> str:
        """What the imported module is called."""
        # A prefix, so that a file called torch.py hides nothing; a point would make it part of a package.
        stem = Path(self.place).stem.replace(".", "_")
        return f"seqserve_target_{stem}" if self.is_file else self.place


def source_at(place: str) -> Source:
    """A place as it is written on the command line.

    A file's own folder is searched first, then the current one; for a module it is the current one.
    """
    here = str(Path.cwd())
    written = Source(place, (here,))
    if not written.is_file:
        return written
    path = Path(place).resolve()
    return Source(str(path), (str(path.parent), here))


@contextmanager
def searched(folders: Sequence[str]) -> Iterator[None]:
    """Put folders in front of where Python looks for modules."""
    before = sys.path.copy()
    sys.path[:0] = folders
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def import_source(source: Source) -> ModuleType:
    """The module, newly run where it is a file; `searched` is the caller's. Raises TargetUnusable."""
    return _import_file(source) if source.is_file else _import_module(source.place)


def _import_file(source: Source) -> ModuleType:
    path = Path(source.place)
    if not path.is_file():
        raise TargetUnusable(f"there is no file {path}", hint=FORMS)
    spec = importlib.util.spec_from_file_location(source.module_name, path)
    if spec is None or spec.loader is None:
        raise TargetUnusable(f"{path} is no Python file", hint=FORMS)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # where dataclasses and pickle look for it
    execute = spec.loader.exec_module
    call(f"importing {path}", lambda: execute(module))
    return module


def _import_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise TargetUnusable(f"{name!r} is neither a Python file nor a module's name", hint=FORMS)
    return call(f"importing {name}", lambda: importlib.import_module(name))
