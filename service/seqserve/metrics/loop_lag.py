"""How late the event loop is: while it is blocked, or starved of CPU, nobody is answered."""

from __future__ import annotations

from collections.abc import Callable

from seqserve.batching.clock import Clock, MonotonicClock, Timer

INTERVAL_SECONDS = 1.0


class LoopLag:
    """Sets a timer once a second and tells how many seconds late it came."""

    def __init__(self, note: Callable[[float], None], clock: Clock | None = None) -> None:
        self._note = note
        self._clock = clock or MonotonicClock()
        self._timer: Timer | None = None

    def start(self) -> None:
        """To be called on the event loop that is to be measured."""
        due = self._clock.now() + INTERVAL_SECONDS
        self._timer = self._clock.call_at(due, lambda: self._measure(due))

    def stop(self) -> None:
        """Measure no more; it may be called again."""
        if self._timer is not None:
            self._timer.cancel()

    def _measure(self, due: float) -> None:
        self._note(max(0.0, self._clock.now() - due))
        self.start()
