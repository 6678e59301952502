"""The ledgers of the native front: what the queue and the hot path have counted, version by version."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

from seqserve.batching.ledgers import BatchCounts, RequestCounts, VersionCounts
from seqserve.metrics.rows import EXAMPLES, SECONDS
from seqserve.metrics.table import KEPT_VERSIONS
from seqserve.repository.versions import ModelState, ModelVersion

SECONDS_NS = [round(seconds * 1e9) for seconds in SECONDS]


class _Batches(Protocol):
    def read(self) -> BatchCounts: ...


class _Requests(Protocol):
    def read(self) -> RequestCounts: ...


B = TypeVar("B", bound=_Batches)
R = TypeVar("R", bound=_Requests)


class VersionLedgers(NamedTuple, Generic[B, R]):
    """One version's."""

    batches: B
    requests: R


class Ledgers(Generic[B, R]):
    """Those of every version that serves, and of the last KEPT_VERSIONS that did, as metrics keep them."""

    def __init__(
        self,
        make_batches: Callable[[list[int], list[int]], B],
        make_requests: Callable[[list[int]], R],
        on_forgotten: Callable[[VersionCounts], None],
    ) -> None:
        """make_batches, make_requests: of the bounds of seconds, in nanoseconds, and of examples.

        on_forgotten: gets the last counts of a version whose ledgers go.
        """
        self._make_batches = make_batches
        self._make_requests = make_requests
        self._on_forgotten = on_forgotten
        self._ledgers: dict[tuple[str, str], VersionLedgers[B, R]] = {}
        self._gone: OrderedDict[tuple[str, str], None] = OrderedDict()

    def of(self, model: str, version: str) -> VersionLedgers[B, R]:
        """A version's ledgers: it goes on counting where it was loaded before."""
        key = (model, version)
        if key not in self._ledgers:
            batches = self._make_batches(SECONDS_NS, list(EXAMPLES))
            self._ledgers[key] = VersionLedgers(batches, self._make_requests(SECONDS_NS))
        return self._ledgers[key]

    def read(self) -> list[VersionCounts]:
        """What they all show now; to be called on the event loop."""
        return [_counts(key, ledgers) for key, ledgers in self._ledgers.items()]

    async def follow(self, changed: ModelVersion) -> None:
        """A listener of the repository: of what has been gone for long nothing is kept."""
        key = (changed.name, changed.version)
        self._gone.pop(key, None)
        if changed.state in {ModelState.UNLOADED, ModelState.FAILED}:
            self._gone[key] = None
            if len(self._gone) > KEPT_VERSIONS:
                self._forget(self._gone.popitem(last=False)[0])

    def _forget(self, key: tuple[str, str]) -> None:
        ledgers = self._ledgers.pop(key, None)
        if ledgers is not None:
            self._on_forgotten(_counts(key, ledgers))


def _counts(key: tuple[str, str], ledgers: VersionLedgers[B, R]) -> VersionCounts:
    return VersionCounts(*key, ledgers.batches.read(), ledgers.requests.read())
