"""Finds the extension of the native front, or says why it cannot be used; who asked here may import it."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

from seqserve.errors import DependencyMissing

EXTENSION = "seqserve.native_front._native"
HINT = "`make native` builds it; `--front python` does without"


def load() -> ModuleType:
    """The extension. Raises DependencyMissing."""
    found = _extension()
    if isinstance(found, str):
        raise DependencyMissing(found, hint=HINT)
    return found


def why_not() -> str:
    """In a sentence why the native front cannot be used, "" where it can."""
    found = _extension()
    return found if isinstance(found, str) else ""


def grpc_version() -> str:
    """Of the C++ gRPC that the extension runs on, such as `1.51.1`. Raises DependencyMissing."""
    return str(load().library_version())


@cache
def _extension() -> ModuleType | str:
    """It, or why there is none. Which of both does not change while the process runs."""
    try:
        return importlib.import_module(EXTENSION)
    except ModuleNotFoundError:
        return "the native front is not built"
    except ImportError as error:  # a library that it needs, or another Python's build
        words = str(error).splitlines() or ["no reason is given"]
        return f"the native front does not load: {words[0]}"
