"""One version of one model: where it stands, and what a request is bound to once it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from seqserve.batching.batcher import Outcome, Part
from seqserve.batching.observers import VersionObserver
from seqserve.engines.base import FloatArray, LoadedModel
from seqserve.errors import SeqserveError
from seqserve.golden import Golden
from seqserve.lease import Lease
from seqserve.signature import Signature


class RowBatcher(Protocol):
    """A version's queue, whoever keeps it; batching.batcher.Batcher says what each method promises."""

    @property
    def max_batch_size(self) -> int:
        """Examples that one batch may hold, and so the largest part."""
        ...

    @property
    def max_queue_delay_seconds(self) -> float:
        """How long an idle engine waits for a fuller batch."""
        ...

    @property
    def max_batch_seconds(self) -> float:
        """How long the engine may take for a batch."""
        ...

    @property
    def queued_examples(self) -> int:
        """Examples that wait for a batch."""
        ...

    def check(self, examples: int, *, deadline: float) -> None:
        """Raise at once what `submit` would raise for so many examples now."""
        ...

    async def submit(
        self, parts: Sequence[Part[FloatArray]], *, deadline: float | None
    ) -> list[Outcome[FloatArray]]:
        """Parts [n_i, *example]; one outcome or several, whose results behind each other are the answers."""
        ...

    async def aclose(self) -> None:
        """Finish what is queued; new submissions raise ShuttingDown."""
        ...

    def abort(self, error: SeqserveError) -> None:
        """Answer everybody with `error` now, and take nothing new."""
        ...

    def pause(self) -> None:
        """The engine is away: answer who waits with EngineUnavailable, and who comes until `resume`."""
        ...

    def resume(self) -> None:
        """The engine is back."""
        ...


MakeBatcher = Callable[[Signature, LoadedModel, VersionObserver], RowBatcher]


class ModelState(Enum):
    """Where a version stands. STALLED: loaded, and its engine does not answer for now."""

    LOADING = "loading"
    READY = "ready"
    STALLED = "stalled"
    UNLOADING = "unloading"
    UNLOADED = "unloaded"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class ReadyVersion:
    """What a request is bound to at admission: everything here belongs to one version.

    A caller holds it in a `with` block for as long as it needs it; it is unloaded after the last one.
    """

    name: str
    version: str
    signature: Signature
    batcher: RowBatcher
    engine: str
    device: str
    archive_sha256: str
    observer: VersionObserver = field(default_factory=VersionObserver)
    _calls: int = 0
    _is_idle: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._calls += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._calls -= 1
        if not self._calls and self._is_idle is not None:
            self._is_idle.set()

    @property
    def calls(self) -> int:
        """How many hold it now."""
        return self._calls

    async def idle(self) -> None:
        """Return when nobody holds it. To be called once no request can be bound to it any more."""
        if self._calls:
            self._is_idle = asyncio.Event()
            await self._is_idle.wait()


@dataclass(slots=True, eq=False)
class ModelVersion:
    """One version of one model in the repository.

    path: of its archive. signature, archive_sha256: empty where the archive cannot be read.
    reason: the stable reason of a version that does not serve; the words are in the log.
    lease: keeps the archive from being pruned, for as long as the version is loaded.
    golden: what the loaded copy must answer, kept where an engine may have to be asked again.
    """

    name: str
    version: str
    path: Path | None = None
    signature: Signature | None = None
    archive_sha256: str = ""
    state: ModelState = ModelState.LOADING
    reason: str = ""
    model: LoadedModel | None = None
    ready: ReadyVersion | None = None
    lease: Lease | None = None
    golden: Golden | None = None
    _troubles: list[str] = field(default_factory=list)

    @property
    def is_up(self) -> bool:
        """Loaded, checked and not on its way out: it answers, or will again."""
        return self.state in (ModelState.READY, ModelState.STALLED)

    def stall(self, reason: str) -> None:
        """Out of service until `recover` is called for every reason there was."""
        if reason not in self._troubles:
            self._troubles.append(reason)
        self._show_troubles()

    def recover(self, reason: str) -> None:
        """One thing that kept it from answering is over."""
        if reason in self._troubles:
            self._troubles.remove(reason)
        self._show_troubles()

    def has_trouble(self, reason: str) -> bool:
        """Whether it is stalled for that reason, among others."""
        return reason in self._troubles

    def _show_troubles(self) -> None:
        if self.is_up:
            self.state = ModelState.STALLED if self._troubles else ModelState.READY
            self.reason = self._troubles[-1] if self._troubles else ""

    async def release(self) -> None:
        """Give back what the version holds, and let its archive go; a second time does nothing."""
        model, self.model, self.ready = self.model, None, None
        if model is not None:
            await model.unload()
        self.end_lease()

    def end_lease(self) -> None:
        """The archive may go, as far as this version is concerned."""
        if self.lease is not None:
            self.lease.close()
