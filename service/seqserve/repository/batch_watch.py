"""Watches over one version's batches: what fails is logged, what hangs takes the version out of service."""

from __future__ import annotations

import asyncio
import time

import structlog

from seqserve.batching.observers import VersionObserver
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelVersion

log = structlog.get_logger()

REASON = "BATCH_OVERDUE"
LOG_SECONDS = 1.0
"""Failures are logged at most so often: an engine that is away fails hundreds of batches a second."""


class BatchWatch(VersionObserver):
    """Hears one version's batches, on the event loop."""

    def __init__(self, repository: Repository, entry: ModelVersion) -> None:
        self._repository = repository
        self._entry = entry
        self._telling: set[asyncio.Task[None]] = set()
        self._logged_at = -LOG_SECONDS
        self._unlogged = 0

    def batch_failed(self, examples: int, error: Exception) -> None:
        """Each of its callers gets the error; the log gets one line."""
        now = time.monotonic()
        if now < self._logged_at + LOG_SECONDS:
            self._unlogged += 1
            return
        log.error(
            "a batch failed", model=self._entry.name, version=self._entry.version, examples=examples,
            reason=str(error), failed_since_the_last_line=self._unlogged,
        )  # fmt: skip
        self._logged_at, self._unlogged = now, 0

    def batch_overdue(self, examples: int) -> None:
        """Not ready, until the engine's call ends after all."""
        log.error(
            "a batch takes too long; its model is not ready, and it keeps a compute slot",
            model=self._entry.name, version=self._entry.version, examples=examples,
        )  # fmt: skip
        self._repository.hung_batches += 1
        if self._repository.is_stuck():
            log.error("every compute slot is held by a batch that takes too long: no model can answer")
        self._entry.stall(REASON)
        self._tell_soon()

    def batch_recovered(self, compute_seconds: float, error: Exception | None) -> None:
        """Ready again: the call has ended, whatever came of it."""
        log.warning(
            "the batch that took too long has ended; its compute slot is free again",
            model=self._entry.name, version=self._entry.version, seconds=round(compute_seconds, 3),
            error=str(error or ""),
        )  # fmt: skip
        self._repository.hung_batches -= 1
        self._entry.recover(REASON)
        self._tell_soon()

    def _tell_soon(self) -> None:
        telling = asyncio.get_running_loop().create_task(self._tell())
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _tell(self) -> None:
        """A version that has left meanwhile does not come back, but the whole may be ready again."""
        if self._repository.find(self._entry.name, self._entry.version) is self._entry:
            await self._repository.put(self._entry)
        else:
            await self._repository.tell(self._entry)
