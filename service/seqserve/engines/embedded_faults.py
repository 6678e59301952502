"""What a failed forward pass says of the device: full, broken for good, or not to blame."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from seqserve.engines.embedded_device import Device
from seqserve.errors import EngineUnavailable, Overloaded

# TorchScript raises a plain RuntimeError with the cause in its words, so the type does not tell.
# The allocators of CUDA, cuBLAS and cuDNN, and the CPU's.
FULL = re.compile(r"out of memory|STATUS_ALLOC_FAILED|can't allocate memory")

# TorchScript quotes the module's source, indented, and then the cause: `RuntimeError: CUDA out of memory. …`
CAUSE = re.compile(r"^[\w.]+(?:Error|Exception): ", re.MULTILINE)
MODULE_ERRORS = (RuntimeError, torch.jit.Error)  # OutOfMemoryError and AcceleratorError are RuntimeErrors


def do_nothing() -> None:
    """Where nobody wants to hear."""


@dataclass(frozen=True, slots=True)
class DeviceFaults:
    """Tells a device's faults from a module's.

    on_out_of_memory, on_broken: called in the computing thread. A broken device may be told of by
    every batch that meets it.
    """

    device: Device
    on_out_of_memory: Callable[[], None] = do_nothing
    on_broken: Callable[[], object] = do_nothing

    def of(self, error: Exception) -> Overloaded | EngineUnavailable | None:
        """What to raise in place of a MODULE_ERRORS; None where the device is not to blame."""
        is_own_raise = isinstance(error, torch.jit.Error)  # its words are the module's
        if not is_own_raise and FULL.search(_words_of(error)):
            self.on_out_of_memory()
            return Overloaded(f"{self.device.name} has no memory left for this batch")
        try:
            # A sticky error answers every later call too, in whatever words; an error of the module does not.
            self.device.synchronize()
        except RuntimeError:
            self.on_broken()
            return EngineUnavailable(f"{self.device.name} is broken for this process: {cause_of(error)}")
        return None


def cause_of(error: Exception) -> str:
    """What went wrong, in one line and torch's own words."""
    return _words_of(error).partition("\n")[0]


def _words_of(error: Exception) -> str:
    """The text without TorchScript's traceback."""
    return CAUSE.split(str(error))[-1].strip()
