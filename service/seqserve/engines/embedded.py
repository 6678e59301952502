"""Runs TorchScript in this process; the only module of the gateway that imports torch."""

from __future__ import annotations

import asyncio
import io
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from seqserve.archive import Archive
from seqserve.engines.base import FloatArray
from seqserve.errors import ArchiveInvalid, EngineContractError, Overloaded, SettingsInvalid


def choose_device(wish: str) -> torch.device:
    """`auto` is the first GPU where there is one, else the CPU. Raises SettingsInvalid."""
    if wish == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wish)
    except RuntimeError as error:
        raise SettingsInvalid(f"device: {wish!r}; accepted: auto, cpu, cuda, cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise SettingsInvalid(f"device: {wish!r}; accepted: auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        seen = torch.cuda.device_count()
        raise SettingsInvalid(f"device: {wish!r}, and torch {torch.__version__} sees {seen} GPUs here")
    return torch.device("cuda:0") if wish == "cuda" else device


class EmbeddedModel:
    """One TorchScript module on its device."""

    def __init__(
        self, module: torch.jit.ScriptModule, device: torch.device, threads: ThreadPoolExecutor
    ) -> None:
        self._module = module
        self._device = device
        self._threads = threads

    async def infer(self, batch: FloatArray) -> FloatArray:
        """See LoadedModel.infer. The forward runs in a thread, so the event loop stays alive."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._forward, batch)

    async def unload(self) -> None:
        """Nothing is held beyond the module itself."""

    def _forward(self, batch: FloatArray) -> FloatArray:
        try:
            with torch.inference_mode():
                return _rows_of(self._module(self._to_device(batch)))
        except torch.OutOfMemoryError as error:
            raise Overloaded("the GPU's memory is full") from error
        except (RuntimeError, torch.jit.Error) as error:
            raise EngineContractError(f"the module failed: {_last_line(error)}") from error

    def _to_device(self, batch: FloatArray) -> torch.Tensor:
        # Rows decoded from a message are read-only, which from_numpy warns of; they are only read here.
        writable = batch if batch.flags.writeable else batch.copy()
        tensor = torch.from_numpy(writable)
        if self._device.type == "cpu":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)


def _rows_of(output: object) -> FloatArray:
    """A module's output as rows [n, *output] FP32 in the host's memory. Raises EngineContractError."""
    if not isinstance(output, torch.Tensor):
        raise EngineContractError(f"the module answered a {type(output).__name__}, not a tensor")
    if output.dtype != torch.float32:
        raise EngineContractError(f"the module answered {output.dtype}, not float32")
    rows: FloatArray = output.to("cpu").numpy()
    return rows


def _last_line(error: Exception) -> str:
    """Where TorchScript puts the cause, below its own traceback."""
    return str(error).strip().rpartition("\n")[2]


class EmbeddedEngine:
    """Loads archives into this process."""

    name = "embedded"

    def __init__(self, *, device: str = "auto", intra_op_threads: int = 1, compute_slots: int = 1) -> None:
        """Raise SettingsInvalid for a device that is not here."""
        torch.set_num_threads(intra_op_threads)
        torch.backends.cuda.matmul.allow_tf32 = False  # agreement with the CPU comes before speed
        torch.backends.cudnn.allow_tf32 = False
        self._device = choose_device(device)
        self._threads = ThreadPoolExecutor(compute_slots, thread_name_prefix="forward")

    @property
    def device(self) -> str:
        """`cpu` or `cuda:N`."""
        return str(self._device)

    async def load(self, archive: Archive) -> EmbeddedModel:
        """The archive's module, warmed up. Raises ArchiveInvalid."""
        loop = asyncio.get_running_loop()
        module = await loop.run_in_executor(self._threads, self._load, archive.torchscript)
        model = EmbeddedModel(module, self._device, self._threads)
        await self._warm_up(model, archive)
        return model

    async def aclose(self) -> None:
        """Take no more forwards; one in flight ends on its own."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _load(self, torchscript: bytes) -> torch.jit.ScriptModule:
        try:
            with warnings.catch_warnings():  # TorchScript's deprecation is ours to handle, see docs/adr
                warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
                module: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]  # torch's
                    io.BytesIO(torchscript), map_location=self._device
                )
        except RuntimeError as error:
            raise ArchiveInvalid(
                f"the TorchScript file does not load: {str(error).splitlines()[0]}"
            ) from error
        module.eval()
        return module

    @staticmethod
    async def _warm_up(model: EmbeddedModel, archive: Archive) -> None:
        # TorchScript specializes its graph in the first two calls; real callers should not pay for it.
        example = archive.golden_inputs[:1]
        full = np.repeat(example, archive.signature.max_batch_size, axis=0)
        for batch in (example, full, example, full):
            try:
                await model.infer(batch)
            except EngineContractError as error:
                raise ArchiveInvalid(f"warm-up: {error}") from error
