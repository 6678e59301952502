"""Vulnerabilities that somebody has looked at and found not to touch us, each with a reason and an end."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


class IgnoredFaulty(ValueError):
    """A list of what is ignored that cannot be read."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """One vulnerability (id or alias) of one package. until: the first day on which it counts again."""

    package: str
    id: str
    reason: str
    until: dt.date

    def covers(self, package: str, ids: Iterable[str], today: dt.date) -> bool:
        """Whether a vulnerability of a package, known by any of these ids, is ignored today."""
        return self.package == package and self.id in ids and today < self.until


def read_ignored(path: Path) -> list[Ignored]:
    """All of the file. Raises IgnoredFaulty, OSError."""
    try:
        document = tomllib.loads(path.read_text())
        if document.keys() - {"ignored"}:
            raise IgnoredFaulty(f"{path}: only [[ignored]] is known")
        found = [Ignored(**entry) for entry in document.get("ignored", [])]
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise IgnoredFaulty(f"{path}: {error}") from error
    for one in found:
        _check(one, path)
    return found


def _check(one: Ignored, path: Path) -> None:
    texts = (one.package, one.id, one.reason)
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise IgnoredFaulty(f"{path}: package, id and reason are texts, and none is empty: {texts}")
    if type(one.until) is not dt.date:
        raise IgnoredFaulty(f"{path}: {one.id}: until is a day like 2027-01-31")
