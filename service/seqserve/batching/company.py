"""Whether others are on the way to a batch: where they never are, nobody waits for them."""

from __future__ import annotations

LONELY_BATCHES = 8
"""So many in a row that found one caller, and nobody else is expected any more."""
BATCHES_A_LOOK = 16
"""Of those that expect nobody, one in so many looks whether that still holds."""


class Company:
    """What batches found that waited for others."""

    def __init__(self) -> None:
        self._lonely = 0
        self._unlooked = 0

    def is_likely(self) -> bool:
        """Whether the next batch should wait for others; asked once for each, it then notes what it found."""
        if self._lonely < LONELY_BATCHES:
            return True
        self._unlooked = (self._unlooked + 1) % BATCHES_A_LOOK
        return self._unlooked == 0

    def note(self, callers: int) -> None:
        """A batch has waited, and so many callers were there in the end."""
        self._lonely = self._lonely + 1 if callers <= 1 else 0
