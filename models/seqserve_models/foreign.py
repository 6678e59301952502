"""Runs code that is not ours, a user's or a library's, and puts what it raises into words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from seqserve_models.errors import BuildError, TargetUnusable

Result = TypeVar("Result")


def call(what: str, function: Callable[[], Result]) -> Result:
    """Run somebody's code. Raises TargetUnusable, and our own errors as they are."""
    try:
        return function()
    except BuildError:
        raise
    except (Exception, SystemExit) as error:
        raise TargetUnusable(
            f"{what} raises {type(error).__name__}: {first_line(error)}", hint=_hint(error)
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def one_line(error: BaseException, most_characters: int = 500) -> str:
    """The whole of an error's text on one line."""
    return " ".join(str(error).split())[:most_characters] or type(error).__name__


def _hint(error: BaseException) -> str:
    if "no known parent package" in str(error):
        return "a file with relative imports is part of a package; name it as package.module:NAME"
    if isinstance(error, SystemExit):
        return 'what should run only as a program belongs under `if __name__ == "__main__":`'
    return ""
