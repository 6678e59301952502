"""The threads that torch computes in, so that the event loop stays alive."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from seqserve.engines.base import FloatArray
from seqserve.engines.embedded_device import Device
from seqserve.engines.embedded_faults import MODULE_ERRORS, DeviceFaults, cause_of
from seqserve.engines.embedded_staging import Lane
from seqserve.errors import EngineContractError

T = TypeVar("T")


class _Mine(threading.local):
    """What each thread has for itself, from its first look at it."""

    def __init__(self, device: Device) -> None:
        # In a new thread BLAS begins with all cores of the host, until torch has told it better.
        torch.set_num_threads(torch.get_num_threads())
        self.lane: Lane = device.enter()


class ComputeThreads:
    """Some threads, and those that others bring, each with its own way to the device."""

    def __init__(self, faults: DeviceFaults, count: int, name: str) -> None:
        self._faults = faults
        self._mine = _Mine(faults.device)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def forward(self, module: torch.jit.ScriptModule, batch: FloatArray, largest: int) -> FloatArray:
        """One forward pass: [n, *example] → [n, *output], n ≤ `largest`, the same in every call.

        Raises Overloaded, EngineUnavailable, EngineContractError.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._forward, module, batch, largest)

    async def run(self, work: Callable[[Lane], T]) -> T:
        """Other work for one of the threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: work(self._mine.lane))

    def close(self) -> None:
        """Take nothing more; what a thread is at ends on its own."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def compute(
        self, module: torch.jit.ScriptModule, batch: FloatArray, out: FloatArray, largest: int
    ) -> None:
        """One forward pass in the calling thread, its rows written to `out` [n, output width].

        Raises what `forward` raises.
        """
        rows = self._forward(module, batch, largest)
        if rows.size != out.size:
            raise EngineContractError(f"the module answered {list(rows.shape)} where {list(out.shape)} go")
        out[:] = rows if rows.ndim == out.ndim else rows.reshape(out.shape)

    def _forward(self, module: torch.jit.ScriptModule, batch: FloatArray, largest: int) -> FloatArray:
        try:
            return self._attempt(module, batch, largest)
        except MODULE_ERRORS as error:
            fault = self._faults.of(error)
            if fault is None:
                raise EngineContractError(f"the module failed: {cause_of(error)}") from error
        # Out here the error is gone, and its frames with it: a full device wants their tensors back.
        raise fault

    def _attempt(self, module: torch.jit.ScriptModule, batch: FloatArray, largest: int) -> FloatArray:
        with torch.inference_mode():
            sent = self._mine.lane.send(batch, largest)
            return _rows_of(module(sent), len(sent), len(batch))


def _rows_of(output: object, sent: int, wanted: int) -> FloatArray:
    """The first rows of a module's output, [wanted, *output] FP32 on the host. Raises EngineContractError."""
    if not isinstance(output, torch.Tensor):
        raise EngineContractError(f"the module answered a {type(output).__name__}, not a tensor")
    if output.dtype != torch.float32:
        raise EngineContractError(f"the module answered {output.dtype}, not float32")
    if output.shape[:1] != (sent,):
        raise EngineContractError(f"the module answered {list(output.shape)} to {sent} examples")
    if wanted < sent:
        output = output[:wanted]
    rows: FloatArray = (output if output.is_cpu else output.cpu()).numpy()
    return rows
