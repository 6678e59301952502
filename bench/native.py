"""Whether the native front can be served here."""

from __future__ import annotations

from importlib import import_module

MODULE = "seqserve.native_front.library"


def missing_native() -> str:
    """Why not, in one line; empty where it is built."""
    try:
        import_module(MODULE)
    except ImportError as error:
        return f"the native front is not built here: make native ({error})"
    return ""
