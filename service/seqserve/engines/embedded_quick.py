"""Which batches are so quick that handing them to a thread would take longer than they do."""

from __future__ import annotations

QUICK_SECONDS = 0.0002
"""Nothing else of the gateway waits longer than that: health and cancellations come through in between."""
PROOFS = 3
WEIGHT = 0.2
"""Of the newest batch: one that is far too slow decides at once, one that met a busy machine does not."""


class QuickBatches:
    """What was measured of one model's batches, by their size up to the next power of two.

    Batches of a size are quick once PROOFS of them were measured, and for as long as their moving average is
    below QUICK_SECONDS. Those that are not go to a thread, and are measured there.
    """

    def __init__(self) -> None:
        self._proofs: dict[int, int] = {}
        self._seconds: dict[int, float] = {}

    def has(self, examples: int) -> bool:
        """Whether batches of that size are quick, as far as is known."""
        size = _size(examples)
        return self._proofs.get(size, 0) >= PROOFS and self._seconds[size] < QUICK_SECONDS

    def measure(self, examples: int, seconds: float) -> None:
        """Take one batch into account; seconds: of computing, without any wait."""
        size = _size(examples)
        before = self._seconds.get(size, seconds)
        self._seconds[size] = before + WEIGHT * (seconds - before)
        self._proofs[size] = self._proofs.get(size, 0) + 1


def _size(examples: int) -> int:
    """1, 2, 3 to 4, 5 to 8, and so on as 0, 1, 2, 3, and so on."""
    return (examples - 1).bit_length()
