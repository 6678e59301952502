"""The ledgers in which native threads count: a version that is loaded again goes on in its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from seqserve.batching.ledgers import VersionCounts
from seqserve.native_front import _native


class VersionLedgers(NamedTuple):
    """One version's."""

    batches: _native.BatchLedger
    requests: _native.RequestLedger


class Ledgers:
    """Those of all versions that there have been."""

    def __init__(self, seconds_bounds: Sequence[float], examples_bounds: Sequence[float]) -> None:
        """Bounds of the buckets of histograms, in seconds and in examples; without infinity."""
        self._seconds_bounds_ns = [round(seconds * 1e9) for seconds in seconds_bounds]
        self._examples_bounds = [int(examples) for examples in examples_bounds]
        self._of: dict[tuple[str, str], VersionLedgers] = {}

    def of(self, name: str, version: str) -> VersionLedgers:
        """A version's, at zero for a new one."""
        found = self._of.get((name, version))
        if found is None:
            found = self._of[name, version] = VersionLedgers(
                _native.BatchLedger(self._seconds_bounds_ns, self._examples_bounds),
                _native.RequestLedger(self._seconds_bounds_ns),
            )
        return found

    def read(self) -> Sequence[VersionCounts]:
        """What was counted so far."""
        return [
            VersionCounts(*key, ledgers.batches.read(), ledgers.requests.read())  # type: ignore[arg-type]
            for key, ledgers in self._of.items()
        ]
