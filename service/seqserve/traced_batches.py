"""Spans of a call's phases, one each: decode, queue, assembly, compute and encode.

Assembly and compute happen once a batch, and each call of the batch gets spans of its own with the same
times, so that every trace shows a call whole. The compute spans of a batch are linked: that of the first
recorded call, which goes on to an engine outside of this process, to the other calls, and theirs to it.

Used only where calls are traced: nobody else pays for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from seqserve.batching.batcher import Batcher, BatchLimits, Outcome, Part
from seqserve.batching.observers import Phases, VersionObserver
from seqserve.engines.base import FloatArray, LoadedModel, batch_headers
from seqserve.errors import SeqserveError
from seqserve.predictor import batch_runner
from seqserve.signature import Signature
from seqserve.status import status_of
from seqserve.tracing import Attributes, RecordedSpan, current_span

MOST_BATCHES = 16
"""A request that is split over more has spans for its first ones; of its other batches none."""


class TracedEngine(NamedTuple):
    """What runs the batches. is_remote: outside of this process, where a trace goes on."""

    name: str
    device: str
    is_remote: bool


class TracedRequests(VersionObserver):
    """Tells the spans of one version's calls what only they have: decoding, encoding, and their end.

    It is told in the context of the call.
    """

    def __init__(self, name: str, version: str) -> None:
        self._named = {"seqserve.model": name, "seqserve.version": version}

    def request_decoded(self, seconds: float) -> None:
        """See VersionObserver."""
        self._tell("decode", seconds)

    def request_answered(self, examples: int, phases: Phases) -> None:  # noqa: ARG002 - as declared
        """See VersionObserver."""
        if (span := current_span.get()) is not None:
            span.describe({**self._named, "seqserve.examples": examples})

    def request_encoded(self, seconds: float) -> None:
        """See VersionObserver."""
        self._tell("encode", seconds)

    def request_failed(self, seconds: float, code: str) -> None:  # noqa: ARG002 - as declared
        """See VersionObserver."""
        if (span := current_span.get()) is not None:
            span.describe(self._named)
            span.note_code(code)

    def _tell(self, phase: str, seconds: float) -> None:
        span = current_span.get()
        if span is not None and span.is_recorded:
            now = time.perf_counter()
            span.child(phase, now - seconds, self._named).end(now)


class _Rows(NamedTuple):
    """A part of a request. caller: whose, None where the request is nobody's that is traced."""

    rows: FloatArray
    caller: _Caller | None


@dataclass(slots=True, eq=False)
class _Batch:
    """What is known of a batch, which is gathered from `started` on; 0 for what has not come yet.

    compute: the span that stands for the batch, of its `lead`, the first call that is recorded.
    """

    started: float
    callers: Sequence[_Caller]
    examples: int
    assembled: float = 0.0
    computed: float = 0.0
    error: BaseException | None = None
    lead: _Caller | None = None
    compute: RecordedSpan | None = None


@dataclass(slots=True, eq=False)
class _Caller:
    """One traced call that has put its parts into the queue.

    waiting: parts that no batch has taken. batches: that took the others.
    """

    span: RecordedSpan
    arrived: float
    waiting: int
    batches: list[_Batch] = field(default_factory=list)


class TracedBatcher:
    """A version's queue as batching.batcher.Batcher keeps it, whose callers' spans hear what happens."""

    def __init__(
        self,
        signature: Signature,
        model: LoadedModel,
        limits: BatchLimits,
        *,
        engine: TracedEngine,
        slots: asyncio.Semaphore,
        observer: VersionObserver,
    ) -> None:
        self._limits = limits
        self._named = {"seqserve.model": signature.name, "seqserve.version": signature.version}
        self._model = _TracedModel(model, engine, self._named)
        self._compute = batch_runner(self._model, observer)
        self._batcher = Batcher(self._run, limits, slots=slots, observer=observer)

    @property
    def max_batch_size(self) -> int:
        """See Batcher."""
        return self._limits.max_batch_size

    @property
    def max_queue_delay_seconds(self) -> float:
        """See Batcher."""
        return self._limits.max_queue_delay_seconds

    @property
    def max_batch_seconds(self) -> float:
        """See Batcher."""
        return self._limits.max_batch_seconds

    @property
    def queued_examples(self) -> int:
        """See Batcher."""
        return self._batcher.queued_examples

    def check(self, examples: int, *, deadline: float) -> None:
        """See Batcher."""
        self._batcher.check(examples, deadline=deadline)

    async def submit(
        self, parts: Sequence[Part[FloatArray]], *, deadline: float | None
    ) -> list[Outcome[FloatArray]]:
        """See Batcher."""
        span = current_span.get()
        caller = None if span is None else _Caller(span, time.perf_counter(), len(parts))
        own = [Part(_Rows(part.payload, caller), part.examples) for part in parts]
        error: BaseException | None = None
        try:
            return await self._batcher.submit(own, deadline=deadline)
        except BaseException as raised:
            error = raised
            raise
        finally:
            if caller is not None and caller.span.is_recorded:
                self._tell(caller, error)

    async def aclose(self) -> None:
        """See Batcher."""
        await self._batcher.aclose()

    def abort(self, error: SeqserveError) -> None:
        """See Batcher."""
        self._batcher.abort(error)

    def pause(self) -> None:
        """See Batcher."""
        self._batcher.pause()

    def resume(self) -> None:
        """See Batcher."""
        self._batcher.resume()

    async def _run(self, parts: Sequence[_Rows]) -> Sequence[FloatArray]:
        callers = list(dict.fromkeys(part.caller for part in parts if part.caller is not None))
        examples = sum(len(part.rows) for part in parts)
        batch = self._model.batch = _Batch(time.perf_counter(), callers, examples)
        for part in parts:
            if part.caller is not None:
                part.caller.waiting -= 1
        for caller in callers:
            caller.batches.append(batch)
        try:
            return await self._compute([part.rows for part in parts])
        except BaseException as error:
            batch.error = error
            raise

    def _tell(self, caller: _Caller, error: BaseException | None) -> None:
        """The spans of a call that has its answer, or an error, or has left, in its own context.

        Whatever is not over ends now, since the call does: a batch goes on without it.
        """
        now = time.perf_counter()
        for batch in caller.batches[:MOST_BATCHES]:
            caller.span.child("queue", caller.arrived, self._named).end(batch.started)
            assembly = caller.span.child("assembly", batch.started, self._model.described(batch))
            _end(assembly, batch.assembled or now, None if batch.assembled else batch.error or error)
            if batch.assembled:
                compute = batch.compute
                if compute is None or batch.lead is not caller:
                    compute = self._model.compute_span(caller, batch, [compute] if compute else [])
                _end(compute, batch.computed or now, batch.error if batch.computed else error)
        if caller.waiting:
            _end(caller.span.child("queue", caller.arrived, self._named), now, error)


class _TracedModel:
    """Hears when a batch is assembled and when it is computed; what is remote hears whose it is.

    batch: the one that is run; a version has one at a time.
    """

    def __init__(self, model: LoadedModel, engine: TracedEngine, named: Attributes) -> None:
        self.batch = _Batch(0.0, (), 0)
        self._model = model
        self._engine = engine
        self._named = named
        self._computing = {"seqserve.engine": engine.name, "seqserve.device": engine.device}

    async def infer(self, batch: FloatArray) -> FloatArray:
        """See LoadedModel."""
        running = self.batch
        running.assembled = time.perf_counter()
        if recorded := [caller for caller in running.callers if caller.span.is_recorded]:
            running.lead = recorded[0]
            others = [caller.span for caller in recorded[1:]]
            running.compute = self.compute_span(running.lead, running, others)
        token = batch_headers.set(_headers(running) if self._engine.is_remote else ())
        try:
            return await self._model.infer(batch)
        finally:
            batch_headers.reset(token)
            running.computed = time.perf_counter()

    async def unload(self) -> None:
        """See LoadedModel."""
        await self._model.unload()

    def compute_span(self, caller: _Caller, batch: _Batch, links: Sequence[RecordedSpan]) -> RecordedSpan:
        """One that has begun."""
        attributes = {**self.described(batch), **self._computing}
        return caller.span.child(
            "compute", batch.assembled, attributes, links, is_remote=self._engine.is_remote
        )

    def described(self, batch: _Batch) -> Attributes:
        """What assembly and compute say of it."""
        return {
            **self._named,
            "seqserve.batch.examples": batch.examples,
            "seqserve.batch.calls": len(batch.callers),
        }


def _headers(batch: _Batch) -> Sequence[tuple[str, str]]:
    """The compute span's; where nobody is recorded the first call's, whose flags say so."""
    if batch.compute is not None:
        return batch.compute.headers
    return batch.callers[0].span.headers if batch.callers else ()


def _end(span: RecordedSpan, ended: float, error: BaseException | None) -> None:
    if error is not None:
        left = isinstance(error, asyncio.CancelledError)
        span.note_code("CANCELLED" if left else status_of(error).grpc.name)
    span.end(ended)
