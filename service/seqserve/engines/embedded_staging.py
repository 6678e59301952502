"""How a batch gets to where the model runs: as it is on the CPU, through pinned memory on a GPU."""

from __future__ import annotations

import math
from typing import Protocol

import torch

from seqserve.engines.base import FloatArray


class Event(Protocol):
    """A mark in a GPU's stream of work."""

    def record(self) -> None:
        """Set the mark behind all that was asked of the stream until now."""
        ...

    def synchronize(self) -> None:
        """Wait until the GPU has come to the mark; at once where none was set."""
        ...


class Gpu(Protocol):
    """What staging needs of a GPU."""

    def pinned(self, elements: int) -> torch.Tensor:
        """Page-locked memory of the host: [elements] FP32, uninitialized. Raises RuntimeError."""
        ...

    def to_device(self, staged: torch.Tensor) -> torch.Tensor:
        """One asynchronous copy of pinned memory. The event tells when it has been read."""
        ...

    def event(self) -> Event:
        """A new mark."""
        ...


class Lane(Protocol):
    """One computing thread's way to the device."""

    def send(self, batch: FloatArray, largest: int) -> torch.Tensor:
        """Batch [n, *example] → the device's tensor [m, *example], n ≤ m ≤ largest; its first n rows."""
        ...

    def sizes(self, largest: int) -> tuple[int, ...]:
        """The numbers of rows to warm a model up with."""
        ...


class DirectLane:
    """The CPU computes on the caller's memory: nothing is copied and nothing padded."""

    def send(self, batch: FloatArray, largest: int) -> torch.Tensor:  # noqa: ARG002 - as declared
        """See Lane."""
        # Rows decoded from a message are read-only, which from_numpy warns of; they are only read here.
        return torch.from_numpy(batch if batch.flags.writeable else batch.copy())

    def sizes(self, largest: int) -> tuple[int, ...]:
        """See Lane."""
        return (1, largest)


class StagedLane:
    """A GPU gets each batch by one copy out of one pinned buffer, padded to a size that is warm.

    For one thread: the buffer belongs to one batch at a time.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._is_read = gpu.event()
        self._buffer = torch.empty(0)

    def send(self, batch: FloatArray, largest: int) -> torch.Tensor:
        """See Lane. The rows beyond the batch repeat its last one: the model sees nothing unheard of."""
        size, count = bucket_of(len(batch), largest), len(batch)
        self._is_read.synchronize()  # a batch that failed may have left its copy under way
        staged = self._room(size, batch.shape[1:], largest)
        rows = staged.numpy()
        rows[:count] = batch
        rows[count:] = batch[-1]
        try:
            return self._gpu.to_device(staged)
        finally:
            self._is_read.record()

    def sizes(self, largest: int) -> tuple[int, ...]:
        """See Lane."""
        return buckets_up_to(largest)

    def _room(self, size: int, example_shape: tuple[int, ...], largest: int) -> torch.Tensor:
        """The buffer's beginning as [size, *example]; it grows to what the model needs at most."""
        elements = math.prod(example_shape)
        if self._buffer.numel() < largest * elements:
            self._buffer = self._gpu.pinned(largest * elements)
        return self._buffer[: size * elements].view(size, *example_shape)


def bucket_of(examples: int, largest: int) -> int:
    """The next power of two, at most `largest`: 5 → 8."""
    return min(1 << (examples - 1).bit_length(), largest)


def buckets_up_to(largest: int) -> tuple[int, ...]:
    """Every size that `bucket_of` answers: 100 → 1, 2, 4, …, 64, 100."""
    return (*(1 << power for power in range((largest - 1).bit_length())), largest)
