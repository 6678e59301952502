"""Monotonic time as something that is passed in, so that tests decide what time it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """What `Clock.call_at` gives back."""

    def cancel(self) -> None:
        """Forget the call; harmless after it has happened."""
        ...


class Clock(Protocol):
    """Monotonic time, in seconds."""

    def now(self) -> float:
        """Seconds on this clock's own scale, which deadlines share."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back once, on the event loop, when `now` has reached `when`."""
        ...


class MonotonicClock:
    """The event loop's own time, `loop.time()`."""

    now = staticmethod(time.monotonic)

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """See Clock.call_at."""
        return asyncio.get_running_loop().call_at(when, callback)
