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

    def is_pinned(self, rows: torch.Tensor) -> bool:
        """Whether a tensor of the host lies in page-locked memory, whoever asked for that."""
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

    def settle(self) -> None:
        """Return once nothing reads the batch that was sent last."""
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

    def settle(self) -> None:
        """See Lane. Who computes on the caller's memory is done with it when the answer is there."""

    def sizes(self, largest: int) -> tuple[int, ...]:
        """See Lane."""
        return (1, largest)


class StagedLane:
    """A GPU gets each batch by one copy out of pinned memory, padded to a size that is warm.

    That is the batch's own memory where it is pinned, else one buffer of the lane's. For one thread: the
    buffer belongs to one batch at a time, and each `send` is followed by `settle`.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._is_read = gpu.event()
        self._buffer = torch.empty(0)

    def send(self, batch: FloatArray, largest: int) -> torch.Tensor:
        """See Lane. The rows beyond the batch repeat its last one: the model sees nothing unheard of."""
        size = bucket_of(len(batch), largest)
        try:
            if (own := self._pinned(batch)) is not None:
                return _padded(self._gpu.to_device(own), size)
            return self._gpu.to_device(self._staged(batch, size, largest))
        finally:
            self._is_read.record()

    def settle(self) -> None:
        """See Lane."""
        self._is_read.synchronize()

    def sizes(self, largest: int) -> tuple[int, ...]:
        """See Lane."""
        return buckets_up_to(largest)

    def _pinned(self, batch: FloatArray) -> torch.Tensor | None:
        """The batch as it lies there; None where the GPU could not copy it by itself."""
        if not batch.flags.writeable:  # from_numpy warns of such memory, and none of it was pinned
            return None
        rows = torch.from_numpy(batch)
        return rows if self._gpu.is_pinned(rows) else None

    def _staged(self, batch: FloatArray, size: int, largest: int) -> torch.Tensor:
        staged = self._room(size, batch.shape[1:], largest)
        rows = staged.numpy()
        rows[: len(batch)] = batch
        rows[len(batch) :] = batch[-1]
        return staged

    def _room(self, size: int, example_shape: tuple[int, ...], largest: int) -> torch.Tensor:
        """The buffer's beginning as [size, *example]; it grows to what the model needs at most."""
        elements = math.prod(example_shape)
        if self._buffer.numel() < largest * elements:
            self._buffer = self._gpu.pinned(largest * elements)
        return self._buffer[: size * elements].view(size, *example_shape)


def _padded(rows: torch.Tensor, size: int) -> torch.Tensor:
    """Rows [n, *example] → [size, *example], on the device: the batch's memory ends with its last row."""
    missing = size - len(rows)
    return rows if missing == 0 else torch.cat((rows, rows[-1:].expand(missing, *rows.shape[1:])))


def bucket_of(examples: int, largest: int) -> int:
    """The next power of two, at most `largest`: 5 → 8."""
    return min(1 << (examples - 1).bit_length(), largest)


def buckets_up_to(largest: int) -> tuple[int, ...]:
    """Every size that `bucket_of` answers: 100 → 1, 2, 4, …, 64, 100."""
    return (*(1 << power for power in range((largest - 1).bit_length())), largest)
