"""The threads that torch computes in, so that the event loop stays alive."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from seqserve.engines.base import FloatArray
from seqserve.engines.embedded_faults import MODULE_ERRORS, DeviceFaults, cause_of
from seqserve.engines.embedded_staging import Lane
from seqserve.errors import EngineContractError, Overloaded

T = TypeVar("T")


class _Mine(threading.local):
    """What each thread has for itself, from its first look at it."""

    lane: Lane | None = None


class ComputeThreads:
    """Some threads, and those that others bring, each with its own way to the device."""

    def __init__(self, faults: DeviceFaults, count: int, name: str) -> None:
        self._faults = faults
        self._mine = _Mine()
        self._threads = ThreadPoolExecutor(count, thread_name_prefix=name)
        # A pool without a thread would keep what is given to it, should the system have none left by then.
        self._threads.submit(int)

    def forward(self, module: torch.jit.ScriptModule, batch: FloatArray, largest: int) -> FloatArray:
        """One forward pass: [n, *example] → [n, *output], n ≤ `largest`, the same in every call.

        It is made in the caller's own thread, one of these or any other.
        Raises Overloaded, EngineUnavailable, EngineContractError.
        """
        try:
            return self._attempt(module, batch, largest)
        except MODULE_ERRORS as error:
            fault = self._faults.of(error)
            if fault is None:
                raise EngineContractError(f"the module failed: {cause_of(error)}") from error
        # Out here the error is gone, and its frames with it: a full device wants their tensors back.
        raise fault

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Work for one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def staging_memory(self, numbers: int) -> FloatArray | None:
        """See DirectModel."""
        try:
            return self._faults.device.staging_memory(numbers)
        except RuntimeError as error:
            fault = self._faults.of(error) or Overloaded(f"no memory for batches: {cause_of(error)}")
            raise fault from error

    @property
    def lane(self) -> Lane:
        """The calling thread's way to the device."""
        lane = self._mine.lane
        return self._enter() if lane is None else lane

    def close(self) -> None:
        """Take nothing more; what a thread is at ends on its own."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _enter(self) -> Lane:
        # In a new thread BLAS begins with all cores of the host, until torch has told it better.
        torch.set_num_threads(torch.get_num_threads())
        lane = self._mine.lane = self._faults.device.enter()
        return lane

    def _attempt(self, module: torch.jit.ScriptModule, batch: FloatArray, largest: int) -> FloatArray:
        lane = self.lane
        try:
            with torch.inference_mode():
                sent = lane.send(batch, largest)
                return _rows_of(module(sent), len(sent), len(batch))
        finally:
            # An answer that is on the host comes of a batch that has arrived; a failed one may be under way.
            lane.settle()


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
