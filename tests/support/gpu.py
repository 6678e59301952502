"""A GPU that the CPU plays: it keeps the rules of copies and events, and fails when told to."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field

import torch

from seqserve.engines.base import DeviceMemory, FloatArray
from seqserve.engines.embedded_staging import Event, Lane, StagedLane


@dataclass
class FakeGpu:
    """Notes what is asked of it.

    sizes: rows of each copy, in order. threads: the names of those that copied.
    pinned_elements: of each pinned buffer. last: the latest copy's rows.
    copied_from: the address of the latest copy's first row.
    fault: raised by the next copies. is_broken: whether it answers nothing more.
    overwritten: buffers that were written while a copy may still have read them.
    before_copy: called in the copying thread.
    """

    name: str = "cuda:0"
    place: torch.device = field(default_factory=lambda: torch.device("cpu"))
    sizes: list[int] = field(default_factory=list)
    threads: list[str] = field(default_factory=list)
    pinned_elements: list[int] = field(default_factory=list)
    last: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    copied_from: int = 0
    fault: Exception | None = None
    is_broken: bool = False
    overwritten: int = 0
    _pinned: list[torch.Tensor] = field(default_factory=list)
    _sent: list[weakref.ref[torch.Tensor]] = field(default_factory=list)
    _reading: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    @property
    def held(self) -> int:
        """Inputs on the "device" that somebody still holds."""
        return sum(sent() is not None for sent in self._sent)

    def before_copy(self) -> None:
        """A test puts its own in place of it."""

    def enter(self) -> Lane:
        return StagedLane(self)

    def pinned(self, elements: int) -> torch.Tensor:
        self.pinned_elements.append(elements)
        self._pinned.append(torch.full((elements,), torch.nan))  # what nobody wrote
        return self._pinned[-1]

    def is_pinned(self, rows: torch.Tensor) -> bool:
        begin, end = rows.data_ptr(), rows.data_ptr() + rows.nbytes
        return any(each.data_ptr() <= begin and end <= each.data_ptr() + each.nbytes for each in self._pinned)

    def staging_memory(self, numbers: int) -> FloatArray:
        if self.fault is not None:
            raise self.fault
        memory: FloatArray = self.pinned(numbers).numpy()
        return memory

    def to_device(self, staged: torch.Tensor) -> torch.Tensor:
        self.before_copy()
        if self.fault is not None:
            raise self.fault
        self.wait_for_copy()  # nobody has waited for the one before, if there is one
        sent = staged.clone()
        self._reading[threading.current_thread().name] = (staged, sent.clone())
        self.sizes.append(len(sent))
        self.threads.append(threading.current_thread().name)
        self._sent.append(weakref.ref(sent))
        self.last = sent.clone()
        self.copied_from = staged.data_ptr()
        return sent

    def event(self) -> Event:
        return FakeEvent(self)

    def wait_for_copy(self) -> None:
        """Now a copy of this thread ends: it must find what was there when it began."""
        staged, expected = self._reading.pop(threading.current_thread().name, (None, None))
        if staged is not None and expected is not None and not torch.equal(staged, expected):
            self.overwritten += 1

    def synchronize(self) -> None:
        if self.is_broken:
            raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    def memory(self) -> DeviceMemory | None:
        return None if self.is_broken else DeviceMemory(3_000, 8_000)

    def utilisation(self) -> float | None:
        return None if self.is_broken else 0.25


@dataclass
class FakeEvent:
    """Waits for what was copied before it was recorded; a mark that was never set waits for nothing."""

    gpu: FakeGpu
    is_recorded: bool = False

    def record(self) -> None:
        self.is_recorded = True

    def synchronize(self) -> None:
        if self.is_recorded:
            self.gpu.wait_for_copy()
