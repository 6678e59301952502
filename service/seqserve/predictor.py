"""The story of one request: validate → reshape → batch → engine → check → receipt."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from seqserve import tensors
from seqserve.batching.batcher import Outcome, Part
from seqserve.batching.deadlines import Deadlines
from seqserve.batching.observers import Phases, VersionObserver
from seqserve.decoding import PictureDecoder, check_pictures
from seqserve.door import Door
from seqserve.engines.base import FloatArray, LoadedModel
from seqserve.errors import DeadlineExceeded, EngineContractError
from seqserve.metrics.counts import Metrics
from seqserve.repository.table import Repository
from seqserve.repository.versions import ReadyVersion
from seqserve.signature import Signature
from seqserve.status import status_of
from seqserve.tensors import RawTensor

PROBABILITY_SUM_TOLERANCE = 1e-3
FEW_NUMBERS = 256  # up to here Python's own sums are faster than NumPy's
DECODING_PICTURES = 4096
DEADLINE_SLACK_SECONDS = 0.02  # gRPC's timers and ours start at different moments

Content = RawTensor | Sequence[bytes]
"""One tensor, or PNG and JPEG files."""


class Asker(Protocol):
    """Who hears what a request was about once it has ended, well or badly.

    version: the one that it was bound to, "" where none was. examples: that were answered.
    """

    model: str
    version: str
    examples: int


class Request(NamedTuple):
    """What a caller asks, free of any protocol.

    content: reads the protocol's message once the signature is known; raises InvalidRequest.
    timeout_seconds: None where the caller set no deadline.
    request_id: decides which version of a canary answers.
    asker: is told what was asked, for logs.
    """

    model: str
    version: str
    content: Callable[[Signature], Content]
    timeout_seconds: float | None = None
    request_id: str = ""
    asker: Asker | None = None


class Receipt(NamedTuple):
    """How an answer came about; a split request reports its longest wait and all of its computing."""

    queue_seconds: float
    compute_seconds: float
    batch_size: int
    engine: str
    device: str
    archive_sha256: str


class Prediction(NamedTuple):
    """The answer: rows [n, *output] FP32, in the order of the request."""

    model: str
    version: str
    signature: Signature
    rows: FloatArray
    receipt: Receipt
    observer: VersionObserver


@dataclass(frozen=True, slots=True)
class Predictor:
    """Answers requests from the repository's models.

    default_timeout_seconds: for callers who set no deadline; max_timeout_seconds: nobody waits longer.
    door: refuses requests once a drain has closed it.
    """

    repository: Repository
    metrics: Metrics
    max_request_examples: int
    default_timeout_seconds: float
    max_timeout_seconds: float = math.inf
    decoder: PictureDecoder = field(default_factory=lambda: PictureDecoder(DECODING_PICTURES))
    door: Door = field(default_factory=Door)
    _deadlines: Deadlines = field(default_factory=Deadlines)

    async def predict(self, request: Request) -> Prediction:
        """Answer a request and count it by its code.

        Raises InvalidRequest, NotFound, Unavailable, Overloaded, DeadlineExceeded, EngineContractError.
        """
        call = _Call(self._seconds(request.timeout_seconds))
        try:
            return await self._predict(request, call)
        except asyncio.CancelledError:
            call.code = _why_cancelled(call.deadline)
            raise
        except Exception as error:
            call.code = status_of(error).grpc.name
            raise
        finally:
            self._count(request, call)

    def _seconds(self, wished: float | None) -> float:
        seconds = self.default_timeout_seconds if wished is None else wished
        return min(seconds, self.max_timeout_seconds)

    def _count(self, request: Request, call: _Call) -> None:
        if call.bound is None:
            labels = self.repository.metric_labels(request.model, request.version)
        else:
            labels = call.bound.name, call.bound.version
            if call.code != "OK":
                call.bound.observer.request_failed(time.perf_counter() - call.started, call.code)
        self.metrics.count_request(*labels, call.code)
        if (asker := request.asker) is not None:
            asker.model, asker.version = (request.model, "") if call.bound is None else labels
            asker.examples = call.examples

    async def _predict(self, request: Request, call: _Call) -> Prediction:
        self.door.enter()
        # From here until the answer nothing unloads the version that the request is bound to.
        with self.repository.resolve(request.model, request.version, request.request_id) as bound:
            call.bound = bound
            outcomes = await self._outcomes(request, call, bound)
            answers = tensors.stack([outcome.result for outcome in outcomes])  # [n, *output]
            check_answers(answers, bound.signature)
        receipt = _receipt(bound, outcomes)
        total_seconds = time.perf_counter() - call.started
        phases = Phases(total_seconds, call.decode_seconds, receipt.queue_seconds, receipt.compute_seconds)
        call.examples = len(answers)
        bound.observer.request_answered(call.examples, phases)
        return Prediction(bound.name, bound.version, bound.signature, answers, receipt, bound.observer)

    async def _outcomes(
        self, request: Request, call: _Call, bound: ReadyVersion
    ) -> list[Outcome[FloatArray]]:
        try:
            with self._deadlines.at(call.deadline):
                content = request.content(bound.signature)
                if isinstance(content, RawTensor) and content.datatype != "BYTES":
                    rows = tensors.decode(content, bound.signature, self.max_request_examples)
                else:
                    rows = await self._rows_of_pictures(content, bound, call.deadline)
                call.decode_seconds = time.perf_counter() - call.started
                bound.observer.request_decoded(call.decode_seconds)
                parts = _parts(rows, bound.batcher.max_batch_size)
                return await bound.batcher.submit(parts, deadline=call.deadline)
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer within {call.seconds:g} s") from error

    async def _rows_of_pictures(self, content: Content, bound: ReadyVersion, deadline: float) -> FloatArray:
        """The request as rows [n, *example]."""
        signature = bound.signature
        if isinstance(content, RawTensor):
            content = tensors.split_bytes(content, signature, self.max_request_examples)
        check_pictures(content, signature, self.max_request_examples)
        bound.batcher.check(len(content), deadline=deadline)  # decoding what is refused would be in vain
        return await self.decoder.rows(content, signature)


class _Call:
    """What is known of a request while it is answered."""

    __slots__ = ("bound", "code", "deadline", "decode_seconds", "examples", "seconds", "started")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.started = time.perf_counter()
        self.deadline = asyncio.get_running_loop().time() + seconds
        self.decode_seconds = 0.0
        self.code = "OK"
        self.examples = 0
        self.bound: ReadyVersion | None = None


def batch_runner(
    model: LoadedModel, observer: VersionObserver
) -> Callable[[Sequence[FloatArray]], Awaitable[Sequence[FloatArray]]]:
    """What a version's batcher runs: parts [n_i, *example] in, answers [n_i, *output] out."""

    async def run(parts: Sequence[FloatArray]) -> Sequence[FloatArray]:
        started = time.perf_counter()
        batch = tensors.stack(parts)
        assembled = time.perf_counter()
        answers = await model.infer(batch)
        computed = time.perf_counter()
        if len(answers) != len(batch):
            raise EngineContractError(f"{len(answers)} answers to {len(batch)} examples")
        pieces = tensors.split(answers, [len(part) for part in parts])
        split_seconds = time.perf_counter() - computed
        observer.batch_computed(len(batch), assembled - started, computed - assembled, split_seconds)
        return pieces

    return run


def check_answers(rows: FloatArray, signature: Signature) -> None:
    """Refuse to hand out nonsense: rows [n, *output] must be finite and, as probabilities, sum to 1.

    Raises EngineContractError.
    """
    if rows.shape[1:] != signature.output.example_shape:
        raise EngineContractError(f"{signature.name} answered rows of shape {rows.shape[1:]}")
    if rows.ndim == 2 and rows.size <= FEW_NUMBERS and _have_fine_sums(rows, signature):  # noqa: PLR2004 - [n, k]
        return
    if not np.isfinite(rows).all():
        raise EngineContractError(f"{signature.name} answered NaN or infinity")
    if signature.task == "classification":
        worst = float(np.abs(rows.sum(axis=-1) - 1.0).max())
        if worst > PROBABILITY_SUM_TOLERANCE:
            raise EngineContractError(f"{signature.name}: probabilities are off a sum of 1 by {worst:.3g}")


def _have_fine_sums(rows: FloatArray, signature: Signature) -> bool:
    """Whether the rows' sums show that all is well: one over NaN or infinity is neither finite nor near 1."""
    sums = [sum(row) for row in rows.tolist()]
    if signature.task == "classification":
        return all(abs(each - 1.0) <= PROBABILITY_SUM_TOLERANCE for each in sums)
    return all(map(math.isfinite, sums))


def _why_cancelled(deadline: float) -> str:
    """GRPC cancels a call whose caller left, and one whose deadline has passed."""
    is_late = asyncio.get_running_loop().time() >= deadline - DEADLINE_SLACK_SECONDS
    return "DEADLINE_EXCEEDED" if is_late else "CANCELLED"


def _parts(rows: FloatArray, max_batch_size: int) -> list[Part[FloatArray]]:
    """Rows [n, *example] cut into pieces that an engine may see."""
    if len(rows) <= max_batch_size:
        return [Part(rows, len(rows))]
    pieces = (rows[start : start + max_batch_size] for start in range(0, len(rows), max_batch_size))
    return [Part(piece, len(piece)) for piece in pieces]


def _receipt(bound: ReadyVersion, outcomes: Sequence[Outcome[FloatArray]]) -> Receipt:
    return Receipt(
        queue_seconds=max(outcome.queue_seconds for outcome in outcomes),
        compute_seconds=sum(outcome.compute_seconds for outcome in outcomes),
        batch_size=max(outcome.batch_examples for outcome in outcomes),
        engine=bound.engine,
        device=bound.device,
        archive_sha256=bound.archive_sha256,
    )
