"""Runs TorchScript in this process; only this module and those named after it import torch.

embedded_device.py: the CPU or a GPU. embedded_staging.py: how batches get there. embedded_faults.py:
what an error says of the device. embedded_threads.py: where forwards run. embedded_quick.py: which of them
need no thread. embedded_twin.py: which of them need no Python.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch

from seqserve.archive import Archive
from seqserve.engines.base import DeviceMemory, FloatArray, Graph
from seqserve.engines.embedded_device import Device, find_device
from seqserve.engines.embedded_faults import MODULE_ERRORS, DeviceFaults, cause_of, do_nothing
from seqserve.engines.embedded_quick import QuickBatches
from seqserve.engines.embedded_threads import ComputeThreads
from seqserve.engines.embedded_twin import ReadGraph, twin_of
from seqserve.errors import ArchiveInvalid, EngineContractError

LOOP = "prim::Loop"  # both kinds, by TorchScript's name
WARM_UP_ROUNDS = 2  # TorchScript watches the first call of a size, and specializes its graph in the second


class EmbeddedModel:
    """One TorchScript module on its device.

    quick: knows which batches are computed in the caller's own thread; None: all go to a compute slot's.
    graph: see GraphModel.
    """

    def __init__(
        self,
        module: torch.jit.ScriptModule,
        largest: int,
        threads: ComputeThreads,
        quick: QuickBatches | None = None,
        graph: Graph | None = None,
    ) -> None:
        self.graph = graph
        self._module = module
        self._largest = largest
        self._threads = threads
        self._quick = quick

    async def infer(self, batch: FloatArray) -> FloatArray:
        """See LoadedModel.infer; at most `max_batch_size` examples."""
        if self._quick is None:
            return await self._threads.run(self._rows, batch)
        if self._quick.has(len(batch)):
            return self._measured(batch, self._quick)
        return await self._threads.run(self._measured, batch, self._quick)

    def _measured(self, batch: FloatArray, quick: QuickBatches) -> FloatArray:
        started = time.thread_time()  # not the wait for the core, or for Python's lock
        rows = self._rows(batch)
        quick.measure(len(batch), time.thread_time() - started)
        return rows

    @property
    def ends_by_itself(self) -> bool:
        """See DirectModel."""
        return self._quick is not None

    def compute(self, batch: FloatArray, out: FloatArray) -> None:
        """See DirectModel.compute; at most `max_batch_size` examples."""
        rows = self._rows(batch)
        if rows.size != out.size:
            raise EngineContractError(f"the module answered {list(rows.shape)} where {list(out.shape)} go")
        out[:] = rows if rows.ndim == out.ndim else rows.reshape(out.shape)

    def staging_memory(self, numbers: int) -> FloatArray | None:
        """See DirectModel."""
        return self._threads.staging_memory(numbers)

    def _rows(self, batch: FloatArray) -> FloatArray:
        """A forward pass in the calling thread."""
        return self._threads.forward(self._module, batch, self._largest)

    async def unload(self) -> None:
        """Nothing is held beyond the module itself."""


class EmbeddedEngine:
    """Loads archives into this process."""

    name = "embedded"

    def __init__(
        self,
        *,
        device: Device | str = "auto",
        intra_op_threads: int = 1,
        compute_slots: int = 1,
        allow_tf32: bool = False,
        on_out_of_memory: Callable[[], None] = do_nothing,
        on_broken: Callable[[], object] = do_nothing,
        read_graph: ReadGraph | None = None,
    ) -> None:
        """device: one that was found, or words for `find_device`.

        allow_tf32: round factors to 10 bits on a GPU, for speed.
        on_out_of_memory, on_broken: see DeviceFaults.
        read_graph: makes the graphs of quick models; None: they have none.
        Raises SettingsInvalid for a device that is not here.
        """
        torch.set_num_threads(intra_op_threads)
        torch.backends.cuda.matmul.allow_tf32 = allow_tf32
        torch.backends.cudnn.allow_tf32 = allow_tf32
        self._device = find_device(device) if isinstance(device, str) else device
        self._read_graph = read_graph
        self._faults = DeviceFaults(self._device, on_out_of_memory, on_broken)
        self._computing = ComputeThreads(self._faults, compute_slots, "forward")
        # A version that is loaded while others serve keeps none of their threads busy.
        self._loading = ComputeThreads(self._faults, 1, "load")

    @property
    def can_be_away(self) -> bool:
        """It is part of this process."""
        return False

    @property
    def runs_verified_archives(self) -> bool:
        """It reads the verified bytes."""
        return True

    @property
    def device(self) -> str:
        """`cpu` or `cuda:N`."""
        return self._device.name

    def memory(self) -> DeviceMemory | None:
        """See DeviceUse."""
        return self._device.memory()

    def utilisation(self) -> float | None:
        """See DeviceUse."""
        return self._device.utilisation()

    async def load(self, archive: Archive) -> EmbeddedModel:
        """The archive's module, warmed up. Raises ArchiveInvalid, Overloaded or EngineUnavailable."""
        module = await self._loading.run(self._load, archive.torchscript)
        await self._warm_up(module, archive)
        largest = archive.signature.max_batch_size
        if not self._may_be_quick(module):
            return EmbeddedModel(module, largest, self._computing)
        graph = await self._loading.run(self._twin, module, archive)
        return EmbeddedModel(module, largest, self._computing, QuickBatches(), graph)

    async def set_default(self, name: str, version: str) -> None:
        """Nobody calls this engine but the gateway."""

    async def aclose(self) -> None:
        """Take no more forwards; one in flight ends on its own."""
        self._loading.close()
        self._computing.close()

    def _load(self, torchscript: bytes) -> torch.jit.ScriptModule:
        try:
            module = _read_module(torchscript, self._device.place)
            self._device.synchronize()  # the weights are copied in this thread's stream, and read in others
        except MODULE_ERRORS as error:
            fault = self._faults.of(error)
            if fault is None:
                raise ArchiveInvalid(f"the TorchScript file does not load: {cause_of(error)}") from error
        else:
            return module
        raise fault

    def _twin(self, module: torch.jit.ScriptModule, archive: Archive) -> Graph | None:
        if self._read_graph is None:
            return None
        forward = partial(self._loading.forward, module, largest=archive.signature.max_batch_size)
        return twin_of(module, archive, self._read_graph, forward)

    def _may_be_quick(self, module: torch.jit.ScriptModule) -> bool:
        """Whether one pass takes as long as another of its size, and needs no threads beside its own.

        A module without loops does; to a GPU each thread has a way of its own.
        """
        has_loop = module.inlined_graph.findNode(LOOP) is not None  # type: ignore[attr-defined]  # torch's
        return self.device == "cpu" and torch.get_num_threads() == 1 and not has_loop

    async def _warm_up(self, module: torch.jit.ScriptModule, archive: Archive) -> None:
        """Real callers should not pay for what the first calls cost."""
        largest = archive.signature.max_batch_size
        sizes = await self._loading.run(lambda: self._loading.lane.sizes(largest))
        for size in sizes * WARM_UP_ROUNDS:
            batch = np.repeat(archive.golden_inputs[:1], size, axis=0)
            try:
                await self._loading.run(self._loading.forward, module, batch, largest)
            except EngineContractError as error:
                raise ArchiveInvalid(f"warm-up: {error}") from error


def _read_module(torchscript: bytes, place: torch.device) -> torch.jit.ScriptModule:
    """Frozen: the weights stand in the graph itself, which TorchScript runs in a third of the time.

    Its numbers stay the same to the last bit.
    """
    with warnings.catch_warnings():  # TorchScript's deprecation is ours to handle, see docs/adr
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        with _file_in_memory(torchscript) as path:
            module: torch.jit.ScriptModule = torch.jit.load(path, map_location=place)  # type: ignore[no-untyped-call]  # torch's
        frozen: torch.jit.ScriptModule = torch.jit.freeze(module.eval(), optimize_numerics=False)
        return frozen


@contextmanager
def _file_in_memory(content: bytes) -> Iterator[str]:
    """A path to the content.

    torch.jit.load holds every thread of Python up for as long as it takes, and from a path it takes
    a fifth of the time that it needs from a buffer.
    """
    with os.fdopen(os.memfd_create("torchscript"), "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"
