"""Which batches are so quick that handing them to a thread would take longer than they do."""

from __future__ import annotations

from collections import deque

QUICK_SECONDS = 0.0002
"""Nothing else of the gateway waits longer than that: health and cancellations come through in between."""
TOO_SLOW_SECONDS = 0.002
"""No busy machine excuses that."""
PASSES = 5


class QuickBatches:
    """What was measured of one model's batches, by their size up to the next power of two.

    Batches of a size are quick once PASSES of them were measured, and while the best of the last PASSES took
    less than QUICK_SECONDS: what the others took longer is the machine's doing, since caches were cold or
    somebody else was served. One that takes TOO_SLOW_SECONDS ends it at once. What is not quick goes to a
    thread, and is measured there.
    """

    def __init__(self) -> None:
        self._measured: dict[int, deque[float]] = {}

    def has(self, examples: int) -> bool:
        """Whether batches of that size are quick, as far as is known."""
        last = self._measured.get(_size(examples))
        return last is not None and len(last) == PASSES and min(last) < QUICK_SECONDS

    def measure(self, examples: int, seconds: float) -> None:
        """Take one batch into account; seconds: of computing, without any wait."""
        last = self._measured.setdefault(_size(examples), deque(maxlen=PASSES))
        if seconds >= TOO_SLOW_SECONDS:
            last.clear()
        last.append(seconds)


def _size(examples: int) -> int:
    """1, 2, 3 to 4, 5 to 8, and so on as 0, 1, 2, 3, and so on."""
    return (examples - 1).bit_length()
