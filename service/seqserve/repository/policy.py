"""Which versions of a model should be loaded, out of those that the store has.

Written as text: `all`, `latest:N` (the N highest), `listed:1,3`. Source of the kinds: Triton's
version policy (all, latest, specific).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from seqserve.repository.routing import version_number

ACCEPTED = "all, latest:N or listed:1,3"
_WRITTEN = re.compile(
    r"all|latest:(?P<latest>[1-9][0-9]{0,5})|listed:(?P<listed>[1-9][0-9]{0,17}(,[1-9][0-9]{0,17})*)"
)


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """The N highest versions, or those listed, or all."""

    latest: int | None = None
    listed: frozenset[str] | None = None

    @classmethod
    def parse(cls, text: str) -> VersionPolicy:
        """A policy from its text. Raises ValueError that says what is accepted."""
        written = _WRITTEN.fullmatch(text.replace(" ", ""))
        if written is None:
            raise ValueError(f"{text!r} is no version policy; accepted: {ACCEPTED}")
        if written["latest"]:
            return cls(latest=int(written["latest"]))
        if written["listed"]:
            return cls(listed=frozenset(written["listed"].split(",")))
        return cls()

    def choose(self, available: Iterable[str], pinned: Collection[str] = ()) -> list[str]:
        """The wanted ones, lowest first; a pinned version, as one with a label, is always wanted."""
        ordered = sorted(available, key=version_number)
        wanted = set(ordered if self.latest is None else ordered[-self.latest :])
        if self.listed is not None:
            wanted &= self.listed
        return [version for version in ordered if version in wanted or version in pinned]
