"""What the native hot path serves: kept in step with the repository, by the repository's own rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from seqserve.errors import SeqserveError
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelVersion, ReadyVersion

if TYPE_CHECKING:
    from seqserve.native_front._native import Served

Route = tuple[str, str, "Served"]
"""(model, version as a caller writes it, what answers)."""


@dataclass(slots=True)
class Routes:
    """Publishes the table whenever a version or its routing has changed.

    make_served: what answers for a version that is up, None where only Python can.
    publish: takes over a table; after it no request is bound to what the table leaves out.
    """

    repository: Repository
    make_served: Callable[[ReadyVersion], Served | None]
    publish: Callable[[Sequence[Route]], None]
    _served: dict[tuple[str, str], tuple[ReadyVersion, Served | None]] = field(default_factory=dict)

    async def follow(self, _: ModelVersion) -> None:
        """A listener of the repository: the first of them, since what is withdrawn must bind nobody."""
        self.publish(list(self._table()))

    def _table(self) -> Iterable[Route]:
        """What stands in no row is for Python to decide, or to refuse in its words."""
        bound = {
            (name, asked): ready
            for name in self.repository.names()
            for asked in self._answerable(name)
            if (ready := self._resolve(name, asked)) is not None
        }
        self._forget(bound.values())
        for (name, asked), ready in bound.items():
            if (served := self._serve(ready)) is not None:
                yield name, asked, served

    def _answerable(self, name: str) -> set[str]:
        """What callers may name so that the same version answers them all."""
        numbers = {entry.version for entry in self.repository.versions_of(name)}
        routing = self.repository.routing(name)
        is_one_for_all = not any(routing.weights.values())  # with weights each request chooses
        return numbers | set(routing.labels) | ({""} if is_one_for_all else set())

    def _resolve(self, name: str, asked: str) -> ReadyVersion | None:
        try:
            return self.repository.resolve(name, asked)
        except SeqserveError:
            return None

    def _serve(self, ready: ReadyVersion) -> Served | None:
        """Made once for each version that was brought up."""
        key = ready.name, ready.version
        known = self._served.get(key)
        if known is None or known[0] is not ready:
            known = self._served[key] = ready, self.make_served(ready)
        return known[1]

    def _forget(self, bound: Iterable[ReadyVersion]) -> None:
        """Let go of versions that nobody can be bound to."""
        kept = {id(ready) for ready in bound}
        self._served = {key: known for key, known in self._served.items() if id(known[0]) in kept}
