"""What an engine is: something that loads an archive and runs batches of examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from seqserve.archive import Archive
from seqserve.tensors import FloatArray

__all__ = ["DeviceMemory", "DeviceUse", "Engine", "FloatArray", "LoadedModel"]


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """A GPU's memory, whoever uses it."""

    used_bytes: int
    total_bytes: int


class DeviceUse(Protocol):
    """How busy a GPU is; both are None where nobody knows."""

    @property
    def device(self) -> str:
        """`cuda:N`."""
        ...

    def memory(self) -> DeviceMemory | None:
        """What is in use and what there is."""
        ...

    def utilisation(self) -> float | None:
        """Share of the last sample period, 0 to 1, in which it computed."""
        ...


class LoadedModel(Protocol):
    """One model version, ready to run."""

    async def infer(self, batch: FloatArray) -> FloatArray:
        """One forward pass: batch [n, *example] FP32 → [n, *output] FP32, row by row.

        Raises EngineUnavailable where the engine is away, Overloaded where it has no room,
        EngineContractError where it answered something that is no answer.
        """
        ...

    async def unload(self) -> None:
        """Give back what the version holds. Calls after it are an error."""
        ...


class Engine(Protocol):
    """What runs models; one instance serves all of them."""

    @property
    def name(self) -> str:
        """`embedded` or `torchserve`."""
        ...

    @property
    def device(self) -> str:
        """Where batches run: `cpu`, `cuda:0`."""
        ...

    async def load(self, archive: Archive) -> LoadedModel:
        """Bring a verified archive up. Raises ArchiveInvalid, EngineUnavailable or Overloaded."""
        ...

    async def set_default(self, name: str, version: str) -> None:
        """The version that callers of the engine's own interface meet who name none; it raises nothing."""
        ...

    async def aclose(self) -> None:
        """Stop; every model is unloaded before it."""
        ...
