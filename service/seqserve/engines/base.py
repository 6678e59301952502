"""What an engine is: something that loads an archive and runs batches of examples."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from seqserve.archive import Archive
from seqserve.tensors import FloatArray

__all__ = [
    "DeviceMemory", "DeviceUse", "DirectModel", "Engine", "EngineObserver", "FloatArray", "Graph",
    "GraphModel", "LoadedModel", "Presence", "batch_headers",
]  # fmt: skip

batch_headers: ContextVar[Sequence[tuple[str, str]]] = ContextVar("batch_headers", default=())
"""What goes with a batch to an engine outside of this process, beside the batch: the trace it belongs to."""


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


@runtime_checkable
class DirectModel(Protocol):
    """A loaded model that computes in whatever thread asks it to, beside its `infer`."""

    @property
    def ends_by_itself(self) -> bool:
        """Whether no batch can go on for ever, so that a thread that others need may compute quick ones."""
        ...

    def compute(self, batch: FloatArray, out: FloatArray) -> None:
        """One forward pass: batch [n, *example] FP32 → out [n, output width], which is written into.

        Both belong to the caller: nothing of them is kept, and nothing reads the batch any more when this
        ends, however it ends. Raises what `infer` raises.
        """
        ...

    def staging_memory(self, numbers: int) -> FloatArray | None:
        """Where batches are best gathered: so many FP32 numbers; None where any memory is as good.

        It is the caller's for as long as the array lives. Raises Overloaded.
        """
        ...


class Graph(Protocol):
    """A model's passes outside of Python, for whatever runs batches there."""

    def run(self, batch: FloatArray, out: FloatArray) -> None:
        """One pass: batch [n, *example] FP32 → out [n, output width], which is written into.

        Raises RuntimeError where it fails.
        """
        ...

    @property
    def engine(self) -> object:
        """The same passes as native code calls them."""
        ...


@runtime_checkable
class GraphModel(Protocol):
    """A loaded model that may have such a graph."""

    @property
    def graph(self) -> Graph | None:
        """It answers as `infer` does, to the last bit."""
        ...


class Presence(Protocol):
    """Hears, on the event loop, which loaded versions an engine cannot run for a while."""

    def note_away(self, name: str, version: str) -> None:
        """From now on nobody asks for it. A version that is not served, or is away already, is fine."""
        ...

    async def bring_back(self, name: str, version: str) -> bool:
        """The engine has it again: let it serve once it answers as its archive says; whether it does."""
        ...


class EngineObserver:
    """Hears what an engine outside of this process goes through; this one does nothing."""

    def note_restart(self) -> None:
        """It had ended and was started again."""

    def note_drift(self, what: str) -> None:
        """It differed from what is loaded, and was put right.

        what: `missing`, `unexpected`, `default`, `workers`.
        """


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

    @property
    def can_be_away(self) -> bool:
        """Whether it runs outside of this process, and may be gone for a while; a Presence hears of it."""
        ...

    @property
    def runs_verified_archives(self) -> bool:
        """Whether what it runs is surely the archive that it was given."""
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
