"""What is wrong with settings, in words: the key, what is accepted, what came."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from seqserve.client_settings import TOKEN_PREFIX, ClientSettings
from seqserve.errors import quote_came
from seqserve.model_settings import ModelSettings

_SECTION_OF: dict[object, type[BaseModel]] = {"models": ModelSettings, "clients": ClientSettings}
_OURS = "value_error"


def faults_of(error: ValidationError, settings: type[BaseModel]) -> list[str]:
    """A sentence for each fault, in the order of the settings."""
    found = error.errors()
    places = [one["loc"] for one in found]
    return [
        f"{_path(one['loc'])}: {_words(one, settings)}"
        for one in found
        if not (one["type"] == "too_short" and any(_is_inside(place, one["loc"]) for place in places))
    ]


def _path(place: Sequence[object]) -> str:
    """A section's name that is not accepted is the section's fault; a token as a name is not told."""
    steps = [str(step) for step in place if step != "[key]"]
    return ".".join("***" if step.startswith(TOKEN_PREFIX) else quote_came(step) for step in steps)


def _is_inside(place: Sequence[object], other: Sequence[object]) -> bool:
    """Whether a fault lies in a part of something else, which lacks that part for no other reason."""
    return len(place) > len(other) and place[: len(other)] == other


def _words(one: Any, settings: type[BaseModel]) -> str:
    if one["type"] == "extra_forbidden":
        return "no such setting" + "".join(_near(one["loc"], settings))
    text: str = one["msg"].removeprefix("Value error, ")
    came = one["input"]
    quoted = int | float if one["loc"][:1] == ("clients",) else str | int | float  # a token may stand there
    return f"{text}; came {quote_came(came)}" if one["type"] != _OURS and isinstance(came, quoted) else text


def _near(place: Sequence[object], settings: type[BaseModel]) -> Iterator[str]:
    """The name that may have been meant."""
    model = _SECTION_OF.get(place[0], settings) if len(place) > 1 else settings
    for name in difflib.get_close_matches(str(place[-1]), model.model_fields, n=1):
        yield f"; did you mean {name}?"
