"""Who hears what becomes of a version's requests and batches: metrics and statistics.

Nothing here may raise, and each call is made once a request or once a batch: keep them cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Concatenate, NamedTuple, ParamSpec

from seqserve.batching.admission import BatchObserver, DropCause, FlushReason, RefusalCause

W = ParamSpec("W")
"""What an observer is told."""


class Phases(NamedTuple):
    """Where a request's time went, in seconds.

    total_seconds: from its decoding to its checked answer; encoding comes after that.
    """

    total_seconds: float
    decode_seconds: float
    queue_seconds: float
    compute_seconds: float


class VersionObserver(BatchObserver):
    """Hears of one version's requests and batches; this one does nothing."""

    def request_decoded(self, seconds: float) -> None:
        """A request's rows are checked and go to the queue."""

    def request_answered(self, examples: int, phases: Phases) -> None:
        """A request has its checked answer."""

    def request_encoded(self, seconds: float) -> None:
        """The answer's message is ready to be sent."""

    def request_failed(self, seconds: float, code: str) -> None:
        """A request that was bound to this version has no answer, but that code of gRPC."""

    def batch_computed(
        self, examples: int, assembly_seconds: float, compute_seconds: float, split_seconds: float
    ) -> None:
        """A batch went through the engine."""


class Observers(VersionObserver):
    """Tells several.

    observers: also those behind one that tells several itself.
    """

    def __init__(self, observers: Sequence[VersionObserver]) -> None:
        self.observers: Sequence[VersionObserver] = tuple(chain.from_iterable(map(_single, observers)))
        self._request_decoded = self._hearing(VersionObserver.request_decoded)
        self._request_answered = self._hearing(VersionObserver.request_answered)
        self._request_encoded = self._hearing(VersionObserver.request_encoded)
        self._batch_computed = self._hearing(VersionObserver.batch_computed)
        self._batch_started = self._hearing(VersionObserver.batch_started)
        self._batch_finished = self._hearing(VersionObserver.batch_finished)

    def _hearing(
        self, call: Callable[Concatenate[VersionObserver, W], None]
    ) -> tuple[Callable[W, None], ...]:
        """That method of each observer that does anything in it: these come with every request."""
        name = call.__name__
        hearing = (each for each in self.observers if getattr(type(each), name, None) is not call)
        return tuple(getattr(each, name) for each in hearing)

    def request_decoded(self, seconds: float) -> None:
        """See VersionObserver."""
        for tell in self._request_decoded:
            tell(seconds)

    def request_answered(self, examples: int, phases: Phases) -> None:
        """See VersionObserver."""
        for tell in self._request_answered:
            tell(examples, phases)

    def request_encoded(self, seconds: float) -> None:
        """See VersionObserver."""
        for tell in self._request_encoded:
            tell(seconds)

    def request_failed(self, seconds: float, code: str) -> None:
        """See VersionObserver."""
        for observer in self.observers:
            observer.request_failed(seconds, code)

    def batch_computed(
        self, examples: int, assembly_seconds: float, compute_seconds: float, split_seconds: float
    ) -> None:
        """See VersionObserver."""
        for tell in self._batch_computed:
            tell(examples, assembly_seconds, compute_seconds, split_seconds)

    def batch_started(self, examples: int, reason: FlushReason, queued_examples: int) -> None:
        """See BatchObserver."""
        for tell in self._batch_started:
            tell(examples, reason, queued_examples)

    def batch_finished(self, examples: int, compute_seconds: float) -> None:
        """See BatchObserver."""
        for tell in self._batch_finished:
            tell(examples, compute_seconds)

    def batch_failed(self, examples: int, error: Exception) -> None:
        """See BatchObserver."""
        for observer in self.observers:
            observer.batch_failed(examples, error)

    def batch_overdue(self, examples: int) -> None:
        """See BatchObserver."""
        for observer in self.observers:
            observer.batch_overdue(examples)

    def batch_recovered(self, compute_seconds: float, error: Exception | None) -> None:
        """See BatchObserver."""
        for observer in self.observers:
            observer.batch_recovered(compute_seconds, error)

    def dropped(self, cause: DropCause, examples: int) -> None:
        """See BatchObserver."""
        for observer in self.observers:
            observer.dropped(cause, examples)

    def refused(self, cause: RefusalCause, examples: int) -> None:
        """See BatchObserver."""
        for observer in self.observers:
            observer.refused(cause, examples)


def _single(observer: VersionObserver) -> Sequence[VersionObserver]:
    """Those behind it, where it tells several itself."""
    return observer.observers if isinstance(observer, Observers) else (observer,)
