"""So many a second, in the mean: a bucket that fills steadily and from which each request takes one."""

from __future__ import annotations


class Rate:
    """The bucket holds what comes in one second, but at least one request. Times in seconds, any epoch."""

    def __init__(self, per_second: float, now: float) -> None:
        self._per_second = per_second
        self._level = self._size
        self._at = now

    @property
    def _size(self) -> float:
        return max(1.0, self._per_second)

    def take(self, now: float) -> float:
        """Take one and return 0.0, or take none and return in how many seconds there will be one."""
        self._fill(now)
        if self._level >= 1.0:
            self._level -= 1.0
            return 0.0
        return (1.0 - self._level) / self._per_second

    def change(self, per_second: float, now: float) -> None:
        """Fill at another rate from now on; what has been taken stays taken."""
        self._fill(now)
        self._per_second = per_second
        self._level = min(self._level, self._size)

    def _fill(self, now: float) -> None:
        self._level = min(self._size, self._level + (now - self._at) * self._per_second)
        self._at = now
