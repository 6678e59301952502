"""The native front put together for one gateway: server, queues, compute slots, and what Python answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from seqserve.access.gate import Gate
from seqserve.batching.batcher import BatchLimits
from seqserve.batching.ledgers import VersionCounts
from seqserve.batching.observers import VersionObserver
from seqserve.certificates import Certificates
from seqserve.engines.base import LoadedModel
from seqserve.grpc_api.boundary import Boundary, Handler
from seqserve.grpc_api.limits import GrpcLimits
from seqserve.native_front import _native
from seqserve.native_front.calls import Calls
from seqserve.native_front.desk import EventDesk
from seqserve.native_front.hot_path import HotPath
from seqserve.native_front.internal_errors import InternalErrors
from seqserve.native_front.ledgers import Ledgers
from seqserve.native_front.listener import NativeListener
from seqserve.native_front.queue import NativeBatcher, NativeQueues
from seqserve.native_front.routes import Routes
from seqserve.native_front.served import served_arguments
from seqserve.native_front.slots import ComputeSlots
from seqserve.native_front.streams import NativeStreams
from seqserve.repository.table import Repository
from seqserve.repository.versions import ReadyVersion, RowBatcher
from seqserve.settings import Settings
from seqserve.signature import Signature
from seqserve.tracing import Tracing

MAX_PYTHON_CALLS = 16384
"""At once; watches of health are among them. Each may hold a message."""
LARGEST_MESSAGES = 16
"""All messages that Python has to answer take no more bytes than so many of the largest."""
STOP_SECONDS = 1.0
"""For batches to end that nobody waits for."""


class NativeFront:
    """One for each gateway: `listener`, `start`, `start_slots`, `aclose`, in that order.

    server: the native one. hot_path: to be looked at when who may call has changed.
    """

    def __init__(
        self,
        settings: Settings,
        limits: GrpcLimits,
        *,
        boundary: Boundary,
        repository: Repository,
        gate: Gate,
        tracing: Tracing,
        on_forgotten: Callable[[VersionCounts], None],
        on_refused: Callable[[int], None],
    ) -> None:
        """on_forgotten: gets the last counts of a version whose ledgers go.

        on_refused: hears of inference requests that were refused because Python had too many.
        """
        self._on_refused, self._told_refused = on_refused, 0
        self._max_request_examples = settings.max_request_examples
        self._desk = EventDesk()
        self._queues = NativeQueues(self._desk)
        self._slots: ComputeSlots | None = None
        native: Any = _native  # what ledgers read has its own types there
        self.ledgers = Ledgers(native.BatchLedger, native.RequestLedger, on_forgotten)
        self.server = _native.Server(
            self._desk.native,
            self._queues.runners,
            options=limits.options(),
            max_message_bytes=limits.max_message_bytes,
            default_timeout_ns=_ns(settings.default_timeout_seconds),
            max_timeout_ns=_ns(settings.max_timeout_seconds),
            max_python_calls=MAX_PYTHON_CALLS,
            max_python_bytes=LARGEST_MESSAGES * limits.max_message_bytes,
        )
        self._streams = NativeStreams(boundary, _native.NEVER)
        self.hot_path = HotPath(self.server, gate, tracing)
        routes = Routes(repository, self._served, self.server.route)
        repository.listeners.insert(0, routes.follow)
        repository.listeners.append(self.ledgers.follow)

    def read_counts(self) -> list[VersionCounts]:
        """What the ledgers show now; those who were refused before are told by the way. On the event loop."""
        refused = self.server.refused_calls
        if refused > self._told_refused:
            self._on_refused(refused - self._told_refused)
            self._told_refused = refused
        return self.ledgers.read()

    def listener(self, handlers: Sequence[Handler], certificates: Certificates | None) -> NativeListener:
        """The main port's, with those handlers for what is Python's."""
        calls = Calls(handlers, _native.NEVER)
        internal = InternalErrors(self._queues.faults.find)
        takers = [self._streams.news(), calls.news(), internal.news()]
        for kind in {kind for each in takers for kind in each}:
            self._desk.on(kind, _all([each[kind] for each in takers if kind in each]))
        return NativeListener(self.server, calls, self._streams, certificates=certificates)

    def start(self) -> None:
        """Hear what native threads tell, on the running event loop."""
        self._desk.start()
        self.hot_path.look()

    def start_slots(self, count: int) -> None:
        """Run so many batches at once, from now on."""
        self._slots = ComputeSlots(self._queues.runners, count)
        self._slots.start()

    async def aclose(self) -> bool:
        """To be called when the server is stopped and no model is left. Whether all batches have ended."""
        are_over = self._slots is None or await self._slots.aclose(STOP_SECONDS)
        self._desk.stop()
        return are_over

    def make_batcher(
        self, signature: Signature, model: LoadedModel, limits: BatchLimits, observer: VersionObserver
    ) -> RowBatcher:
        """A version's queue, which the server and Python both put rows into."""
        return NativeBatcher(
            self._queues, signature, model, limits, max_request_examples=self._max_request_examples,
            ledger=self.ledgers.of(signature.name, signature.version).batches, observer=observer,
        )  # fmt: skip

    def _served(self, ready: ReadyVersion) -> _native.Served | None:
        if not isinstance(ready.batcher, NativeBatcher):
            return None
        ledger = self.ledgers.of(ready.name, ready.version).requests
        arguments = served_arguments(ready, self._max_request_examples)
        return _native.Served(ready.batcher.version, ledger, **arguments)


def _all(takers: Sequence[Callable[..., None]]) -> Callable[..., None]:
    """The end of a call concerns whoever knows its id."""

    def take(*news: object) -> None:
        for each in takers:
            each(*news)

    return take


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
