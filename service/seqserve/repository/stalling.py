"""Takes a version out of service while its engine does not come back with a batch."""

from __future__ import annotations

import asyncio

import structlog

from seqserve.observers import VersionObserver
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelState, ModelVersion

log = structlog.get_logger()

REASON = "BATCH_OVERDUE"


class StallWatch(VersionObserver):
    """Hears one version's batches, on the event loop."""

    def __init__(self, repository: Repository, entry: ModelVersion) -> None:
        self._repository = repository
        self._entry = entry
        self._telling: set[asyncio.Task[None]] = set()

    def batch_overdue(self, examples: int) -> None:
        """Not ready, until the engine's call ends after all."""
        log.error(
            "a batch takes too long; its model is not ready, and it keeps a compute slot",
            model=self._entry.name, version=self._entry.version, examples=examples,
        )  # fmt: skip
        self._change(ModelState.READY, ModelState.STALLED, REASON)
        if self._repository.is_stuck():
            log.error("every compute slot is held by a batch that takes too long: no model can answer")

    def batch_recovered(self, compute_seconds: float, error: Exception | None) -> None:
        """Ready again: the call has ended, whatever came of it."""
        log.warning(
            "the batch that took too long has ended; its model is ready again",
            model=self._entry.name, version=self._entry.version, seconds=round(compute_seconds, 3),
            error=str(error or ""),
        )  # fmt: skip
        self._change(ModelState.STALLED, ModelState.READY, "")

    def _change(self, expected: ModelState, state: ModelState, reason: str) -> None:
        if self._entry.state is expected:
            self._entry.state, self._entry.reason = state, reason
            telling = asyncio.get_running_loop().create_task(self._repository.put(self._entry))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)
