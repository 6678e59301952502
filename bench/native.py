"""Whether the native front can be served here."""

from __future__ import annotations

from importlib import import_module

LIBRARY = "seqserve.native_front.library"
HINT = "`make native` builds it"


def missing_native() -> str:
    """Why not, in one line; empty where it is built."""
    try:
        library = import_module(LIBRARY)
    except ModuleNotFoundError:
        return "this gateway has no native front"
    reason = str(library.why_not())
    return f"{reason}; {HINT}" if reason else ""
