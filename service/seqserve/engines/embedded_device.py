"""Where the embedded engine runs models: the CPU, or a GPU with its calls to torch.cuda."""

from __future__ import annotations

from typing import Protocol

import torch

from seqserve.engines.base import DeviceMemory, FloatArray
from seqserve.engines.embedded_staging import DirectLane, Event, Lane, StagedLane
from seqserve.errors import SettingsInvalid


class Device(Protocol):
    """A place for models; a fake one lets the rules be tried where there is no GPU."""

    @property
    def name(self) -> str:
        """`cpu` or `cuda:N`."""
        ...

    @property
    def place(self) -> torch.device:
        """Where torch puts the weights."""
        ...

    def enter(self) -> Lane:
        """Called once in each computing thread, for its way to the device."""
        ...

    def staging_memory(self, numbers: int) -> FloatArray | None:
        """See DirectModel. Raises RuntimeError where there is none left."""
        ...

    def synchronize(self) -> None:
        """Wait until all work is done. Raises RuntimeError where the device is broken for good."""
        ...

    def memory(self) -> DeviceMemory | None:
        """The GPU's memory in use and in all; None on the CPU, and where the GPU does not answer."""
        ...

    def utilisation(self) -> float | None:
        """Share of the last sample period, 0 to 1, in which the GPU computed; None where nobody knows."""
        ...


class CpuDevice:
    """The CPU."""

    name = "cpu"
    place = torch.device("cpu")

    def enter(self) -> Lane:
        """See Device."""
        return DirectLane()

    def staging_memory(self, numbers: int) -> FloatArray | None:  # noqa: ARG002 - as declared
        """See Device. The CPU computes on any memory."""
        return None

    def synchronize(self) -> None:
        """Nothing on the CPU is asynchronous."""

    def memory(self) -> DeviceMemory | None:
        """See Device."""
        return None

    def utilisation(self) -> float | None:
        """See Device."""
        return None


class CudaDevice:
    """One NVIDIA GPU."""

    def __init__(self, place: torch.device) -> None:
        """place: `cuda:N`."""
        self.place = place
        self.name = str(place)

    def enter(self) -> Lane:
        """See Device. The thread gets a stream of its own, so that it waits for nobody else's work."""
        torch.cuda.set_device(self.place)
        torch.cuda.set_stream(torch.cuda.Stream(self.place))  # type: ignore[no-untyped-call]  # torch's
        return StagedLane(self)

    def pinned(self, elements: int) -> torch.Tensor:
        """See Gpu."""
        return torch.empty(elements, dtype=torch.float32, pin_memory=True)

    def is_pinned(self, rows: torch.Tensor) -> bool:
        """See Gpu."""
        return rows.is_pinned()

    def staging_memory(self, numbers: int) -> FloatArray | None:
        """See Device."""
        memory: FloatArray = self.pinned(numbers).numpy()
        return memory

    def to_device(self, staged: torch.Tensor) -> torch.Tensor:
        """See Gpu."""
        return staged.to(self.place, non_blocking=True)

    def event(self) -> Event:
        """See Gpu."""
        return torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch's

    def synchronize(self) -> None:
        """See Device."""
        torch.cuda.synchronize(self.place)

    def memory(self) -> DeviceMemory | None:
        """See Device."""
        try:
            free_bytes, total_bytes = torch.cuda.mem_get_info(self.place)
        except RuntimeError:
            return None
        return DeviceMemory(total_bytes - free_bytes, total_bytes)

    def utilisation(self) -> float | None:
        """See Device. It needs nvidia-ml-py, and a GPU that tells: slices of one (MIG) do not."""
        try:
            return torch.cuda.utilization(self.place) / 100
        except Exception:  # noqa: BLE001 - NVML's errors have no name where its package is missing
            return None


def find_device(wish: str) -> Device:
    """`auto` is the first GPU where there is one, else the CPU. Raises SettingsInvalid."""
    if wish == "auto":
        wish = "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(wish)
    except RuntimeError as error:
        raise _not_accepted(wish) from error
    if place.type == "cpu":
        return CpuDevice()
    if place.type != "cuda":
        raise _not_accepted(wish)
    if (place.index or 0) >= torch.cuda.device_count():
        seen = torch.cuda.device_count()
        raise SettingsInvalid(f"device: {wish!r}, and torch {torch.__version__} sees {seen} GPUs here")
    return CudaDevice(torch.device("cuda", place.index or 0))


def _not_accepted(wish: str) -> SettingsInvalid:
    return SettingsInvalid(f"device: {wish!r}; accepted: auto, cpu, cuda, cuda:N")
