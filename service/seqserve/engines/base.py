"""What an engine is: something that loads an archive and runs batches of examples."""

from __future__ import annotations

from typing import Protocol

from seqserve.archive import Archive
from seqserve.tensors import FloatArray

__all__ = ["Engine", "FloatArray", "LoadedModel"]


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
        """Bring a verified archive up. Raises ArchiveInvalid or EngineUnavailable."""
        ...

    async def aclose(self) -> None:
        """Stop; every model is unloaded before it."""
        ...
