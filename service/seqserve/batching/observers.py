"""Who hears what becomes of a version's requests and batches: metrics and statistics.

Nothing here may raise, and each call is made once a request or once a batch: keep them cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seqserve.batching.admission import BatchObserver, DropCause, FlushReason, RefusalCause


@dataclass(frozen=True, slots=True)
class Phases:
    """Where a request's time went, in seconds.

    total_seconds: from its decoding to its checked answer; encoding comes after that.
    """

    total_seconds: float
    decode_seconds: float
    queue_seconds: float
    compute_seconds: float


class VersionObserver(BatchObserver):
    """Hears of one version's requests and batches; this one does nothing."""

    def request_answered(self, examples: int, phases: Phases) -> None:
        """A request has its checked answer."""

    def request_encoded(self, seconds: float) -> None:
        """The answer's message is ready to be sent."""

    def request_failed(self, seconds: float) -> None:
        """A request that was bound to this version has no answer."""

    def batch_computed(
        self, examples: int, assembly_seconds: float, compute_seconds: float, split_seconds: float
    ) -> None:
        """A batch went through the engine."""


class Observers(VersionObserver):
    """Tells several."""

    def __init__(self, observers: Sequence[VersionObserver]) -> None:
        self._observers = tuple(observers)

    def request_answered(self, examples: int, phases: Phases) -> None:
        """See VersionObserver."""
        for observer in self._observers:
            observer.request_answered(examples, phases)

    def request_encoded(self, seconds: float) -> None:
        """See VersionObserver."""
        for observer in self._observers:
            observer.request_encoded(seconds)

    def request_failed(self, seconds: float) -> None:
        """See VersionObserver."""
        for observer in self._observers:
            observer.request_failed(seconds)

    def batch_computed(
        self, examples: int, assembly_seconds: float, compute_seconds: float, split_seconds: float
    ) -> None:
        """See VersionObserver."""
        for observer in self._observers:
            observer.batch_computed(examples, assembly_seconds, compute_seconds, split_seconds)

    def batch_started(self, examples: int, reason: FlushReason, queued_examples: int) -> None:
        """See BatchObserver."""
        for observer in self._observers:
            observer.batch_started(examples, reason, queued_examples)

    def batch_finished(self, examples: int, compute_seconds: float) -> None:
        """See BatchObserver."""
        for observer in self._observers:
            observer.batch_finished(examples, compute_seconds)

    def batch_failed(self, examples: int, error: Exception) -> None:
        """See BatchObserver."""
        for observer in self._observers:
            observer.batch_failed(examples, error)

    def batch_overdue(self, examples: int) -> None:
        """See BatchObserver."""
        for observer in self._observers:
            observer.batch_overdue(examples)

    def batch_recovered(self, compute_seconds: float, error: Exception | None) -> None:
        """See BatchObserver."""
        for observer in self._observers:
            observer.batch_recovered(compute_seconds, error)

    def dropped(self, cause: DropCause, examples: int) -> None:
        """See BatchObserver."""
        for observer in self._observers:
            observer.dropped(cause, examples)

    def refused(self, cause: RefusalCause, examples: int) -> None:
        """See BatchObserver."""
        for observer in self._observers:
            observer.refused(cause, examples)
