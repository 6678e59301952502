"""The queues of model versions in C++, with the interface and the words of batching.batcher.Batcher."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from seqserve.batching.admission import AWAY, OVERDUE, BatchLimits, BatchObserver, Outcome, Part
from seqserve.engines.base import DirectModel, FloatArray, GraphModel, LoadedModel
from seqserve.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    Overloaded,
    SeqserveError,
    SettingsInvalid,
    ShuttingDown,
)
from seqserve.native_front import _native
from seqserve.native_front.computing import computing
from seqserve.native_front.desk import EventDesk
from seqserve.native_front.faults import Faults
from seqserve.signature import Signature

SETTINGS = {"max_batch_rows": "max_batch_size", "max_request_rows": "max_request_examples"}
"""What a limit of the native queue is called by those who set it."""
DRAIN_SECONDS = 0.002
"""How often a version that is closed is asked whether it has answered everybody."""
FORGET_SECONDS = 0.1
"""How often one that is given up is asked whether its batch has ended after all."""


class _Answer(NamedTuple):
    """What the desk tells of a request; see _native.Desk."""

    ending: str
    rows: FloatArray | None
    queue_ns: int
    compute_ns: int
    batch_rows: int
    fault: int


class NativeQueues:
    """What the queues of all versions share: the desk, the compute slots' work, the faults."""

    def __init__(self, desk: EventDesk) -> None:
        self.desk = desk
        self.runners = _native.Runners()
        self.faults = Faults()
        self.asking: dict[int, asyncio.Future[_Answer]] = {}
        self.observers: dict[int, BatchObserver] = {}
        self.numbers = itertools.count(1)
        desk.on("answered", self._note_answer)
        desk.on("failed", self._note_failure)
        desk.on("overdue", self._note_overdue)
        desk.on("recovered", self._note_recovery)

    def _note_answer(self, request: int, *answer: object) -> None:
        future = self.asking.pop(request, None)
        if future is not None and not future.done():
            future.set_result(_Answer(*answer))  # type: ignore[arg-type]  # as the desk declares it

    def _note_failure(self, version: int, rows: int, fault: int) -> None:
        self.observers[version].batch_failed(rows, self.faults.find(fault))

    def _note_overdue(self, version: int, rows: int) -> None:
        self.observers[version].batch_overdue(rows)

    def _note_recovery(self, version: int, compute_ns: int, fault: int) -> None:
        error = self.faults.find(fault) if fault else None
        self.observers[version].batch_recovered(compute_ns / 1e9, error)


class NativeBatcher:
    """One version's queue. `aclose` it before it is let go.

    The observer hears of batches that fail, hang and recover; everything else is in the ledger.
    """

    def __init__(
        self,
        queues: NativeQueues,
        signature: Signature,
        model: LoadedModel,
        limits: BatchLimits,
        *,
        max_request_examples: int,
        ledger: _native.BatchLedger,
        observer: BatchObserver,
    ) -> None:
        """To be made on the event loop.

        Raises SettingsInvalid for limits that there is no memory for, and what the model's `staging_memory`
        does. Rows are gathered where the model wants them to lie, if it says so. A buffer is given to others
        when its batch's `compute` has ended and its callers are answered; no copy to a device outlives that.
        """
        self._queues = queues
        self._limits = limits
        self._output_shape = signature.output.example_shape
        self._abort_error: SeqserveError = ShuttingDown(
            "the model was stopped before this request was answered"
        )
        self._number = next(queues.numbers)
        try:
            self.version = _native.Version(
                queues.desk.native, queues.runners, ledger, self._number,
                input_width=math.prod(signature.input.example_shape),
                output_width=math.prod(self._output_shape),
                max_batch_rows=limits.max_batch_size, max_queue_rows=limits.max_queue_size,
                max_request_rows=max_request_examples,
                max_queue_delay_ns=_nanoseconds(limits.max_queue_delay_seconds),
                max_batch_ns=_nanoseconds(limits.max_batch_seconds),
                runs_anywhere=isinstance(model, DirectModel) and model.ends_by_itself,
                compute=computing(model, signature.input.example_shape, queues.faults),
                allocate=model.staging_memory if isinstance(model, DirectModel) else None,
                engine=_engine_of(model),
            )  # fmt: skip
        except _native.LimitFault as fault:
            raise _too_much(fault, signature) from None
        queues.observers[self._number] = observer
        self.version.open()

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
        return self.version.waiting_rows

    def check(self, examples: int, *, deadline: float) -> None:
        """See Batcher."""
        try:
            self.version.check(examples, _nanoseconds(deadline))
        except _native.Refused as refused:
            raise self._refusal(refused, examples, deadline) from None

    async def submit(
        self, parts: Sequence[Part[FloatArray]], *, deadline: float | None
    ) -> list[Outcome[FloatArray]]:
        """See Batcher; one outcome for all parts together, whose rows lie behind each other."""
        until = math.inf if deadline is None else deadline
        request, answer = next(self._queues.numbers), asyncio.get_running_loop().create_future()
        self._queues.asking[request] = answer
        try:
            self.version.submit(request, [part.payload for part in parts], _nanoseconds(until))
            return [self._outcome(await answer)]
        except _native.Refused as refused:
            raise self._refusal(refused, sum(part.examples for part in parts), until) from None
        except asyncio.CancelledError:
            self.version.leave(request)
            raise
        finally:
            self._queues.asking.pop(request, None)

    async def aclose(self) -> None:
        """See Batcher."""
        self.version.close()
        try:
            while not self.version.wait_drained(0):  # noqa: ASYNC110 - a thread that waits could not be cancelled
                await asyncio.sleep(DRAIN_SECONDS)
        except asyncio.CancelledError:
            self.abort(ShuttingDown("the gateway stopped before this request was answered"))
            raise
        finally:
            self._forget()

    def _forget(self) -> None:
        """Keep nothing, once nothing runs: of a batch that outlasts its version the observer still hears."""
        if self.version.wait_drained(0):
            self._queues.desk.dispatch()
            self._queues.observers.pop(self._number, None)
        else:
            asyncio.get_running_loop().call_later(FORGET_SECONDS, self._forget)

    def abort(self, error: SeqserveError) -> None:
        """See Batcher."""
        self._abort_error = error
        self.version.abort(*self._queues.faults.note(error).args[1:])

    def pause(self) -> None:
        """See Batcher."""
        self.version.pause()

    def resume(self) -> None:
        """See Batcher."""
        self.version.open()

    def _outcome(self, answer: _Answer) -> Outcome[FloatArray]:
        if answer.rows is None:
            raise self._error(answer)
        rows = answer.rows.reshape(len(answer.rows), *self._output_shape)
        return Outcome(rows, answer.queue_ns / 1e9, answer.compute_ns / 1e9, answer.batch_rows)

    def _error(self, answer: _Answer) -> Exception:
        """Why there are no rows, in the words of batching.batcher."""
        if answer.ending == "engine_failed":
            return self._queues.faults.find(answer.fault)
        if answer.ending == "expired":
            return DeadlineExceeded("the deadline passed while the request waited for a batch")
        if answer.ending == "overdue":
            return DeadlineExceeded(
                f"the engine computed the batch for more than {self.max_batch_seconds:g} s"
            )
        if answer.ending == "stuck":
            return EngineUnavailable(OVERDUE)
        return EngineUnavailable(AWAY) if answer.ending == "away" else self._abort_error

    def _refusal(self, refused: _native.Refused, examples: int, deadline: float) -> SeqserveError:
        """Why a request may not wait, in the words of batching.admission."""
        reason, waiting, retry_after_ns, memory_bytes = refused.args
        seconds = retry_after_ns / 1e9
        if reason == "closing":
            return ShuttingDown("this model takes no new requests")
        if reason in ("overdue", "away"):
            return EngineUnavailable(OVERDUE if reason == "overdue" else AWAY)
        if reason == "expired":
            return DeadlineExceeded("the deadline had passed before the request could wait for a batch")
        if reason == "full" and memory_bytes:
            words = (
                f"{waiting} examples wait, and the {memory_bytes} bytes in which this model's batches are "
                f"gathered have no room for {examples} more"
            )
        elif reason == "full":
            words = (
                f"{waiting} examples wait, {examples} more would pass the limit of "
                f"{self._limits.max_queue_size}"
            )
        else:
            left = deadline - asyncio.get_running_loop().time()
            words = f"the queue takes about {seconds:.3g} s, the caller waits {left:.3g} s"
        return Overloaded(words, retry_after_seconds=seconds)


def _engine_of(model: LoadedModel) -> object | None:
    """What computes its batches without Python, None where it has nothing of the kind."""
    graph = model.graph if isinstance(model, GraphModel) else None
    return None if graph is None else graph.engine


def _too_much(fault: _native.LimitFault, signature: Signature) -> SettingsInvalid:
    """A limit for which the buffers of a version have no room, by the setting's name."""
    limit, came, accepted = fault.args
    field = SETTINGS[limit]
    return SettingsInvalid(
        f"{field}: {came}; accepted for {signature.name} {signature.version}: at most {accepted}, which the "
        "native front has staging memory for",
        hint=f"set {field} to at most {accepted}, or serve with --front python",
    )


def _nanoseconds(seconds: float) -> int:
    """Of a time or a length of time; `NEVER` where it is none."""
    return min(round(seconds * 1e9), _native.NEVER) if seconds < math.inf else _native.NEVER
