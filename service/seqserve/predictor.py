"""The story of one request: validate → reshape → batch → engine → check → receipt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from seqserve import images, tensors
from seqserve.batching import Outcome, Part
from seqserve.engines.base import FloatArray, LoadedModel
from seqserve.errors import DeadlineExceeded, EngineContractError, InvalidRequest
from seqserve.metrics import Metrics
from seqserve.repository import ReadyVersion, Repository
from seqserve.signature import Signature
from seqserve.status import status_of
from seqserve.tensors import RawTensor

PROBABILITY_SUM_TOLERANCE = 1e-3
DEADLINE_SLACK_SECONDS = 0.02  # gRPC's timers and ours start at different moments

Content = RawTensor | Sequence[bytes]
"""One tensor, or PNG and JPEG files."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller asks, free of any protocol.

    content: reads the protocol's message once the signature is known; raises InvalidRequest.
    timeout_seconds: None where the caller set no deadline.
    """

    model: str
    version: str
    content: Callable[[Signature], Content]
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """How an answer came about; a split request reports its longest wait and all of its computing."""

    queue_seconds: float
    compute_seconds: float
    batch_size: int
    engine: str
    device: str
    archive_sha256: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer: rows [n, *output] FP32, in the order of the request."""

    model: str
    version: str
    signature: Signature
    rows: FloatArray
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Predictor:
    """Answers requests from the repository's models."""

    repository: Repository
    metrics: Metrics
    max_request_examples: int
    default_timeout_seconds: float

    async def predict(self, request: Request) -> Prediction:
        """Answer a request and count it by its code.

        Raises InvalidRequest, NotFound, Unavailable, Overloaded, DeadlineExceeded, EngineContractError.
        """
        code, started = "OK", time.perf_counter()
        seconds = self.default_timeout_seconds if request.timeout_seconds is None else request.timeout_seconds
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            return await self._predict(request, seconds, deadline)
        except asyncio.CancelledError:
            code = _why_cancelled(deadline)
            raise
        except Exception as error:
            code = status_of(error).grpc.name
            raise
        finally:
            labels = self.repository.labels(request.model, request.version)
            self.metrics.count_request(*labels, code, time.perf_counter() - started)

    async def _predict(self, request: Request, seconds: float, deadline: float) -> Prediction:
        bound = self.repository.resolve(request.model, request.version)
        try:
            async with asyncio.timeout_at(deadline):
                rows = await self._rows(request.content(bound.signature), bound.signature)  # [n, *example]
                parts = _parts(rows, bound.signature.max_batch_size)
                outcomes = await bound.batcher.submit(parts, deadline=deadline)
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer within {seconds:g} s") from error
        answers = tensors.stack([outcome.result for outcome in outcomes])  # [n, *output]
        check_answers(answers, bound.signature)
        receipt = _receipt(bound, outcomes)
        self.metrics.queue_seconds.labels(bound.name, bound.version).observe(receipt.queue_seconds)
        return Prediction(bound.name, bound.version, bound.signature, answers, receipt)

    async def _rows(self, content: Content, signature: Signature) -> FloatArray:
        if isinstance(content, RawTensor) and content.datatype != "BYTES":
            return tensors.decode(content, signature, self.max_request_examples)
        if isinstance(content, RawTensor):
            content = tensors.split_bytes(content, signature, self.max_request_examples)
        # Decoding pictures takes milliseconds; the event loop has other callers.
        return await asyncio.to_thread(self._rows_of_images, content, signature)

    def _rows_of_images(self, files: Sequence[bytes], signature: Signature) -> FloatArray:
        name, size = signature.input.name, signature.image_size
        if size is None:
            raise InvalidRequest(
                "DATATYPE_NOT_ACCEPTED",
                field=name,
                came="BYTES",
                accepted="numbers; this model takes no images",
            )
        if not 1 <= len(files) <= self.max_request_examples:
            raise InvalidRequest(
                "TOO_MANY_EXAMPLES", field=name, came=f"{len(files)} images",
                accepted=f"1 to {self.max_request_examples} images a request",
            )  # fmt: skip
        pixels = [images.decode_image(file, size, name, index) for index, file in enumerate(files)]
        return tensors.rows_of_pixels(np.stack(pixels), signature)


def batch_runner(model: LoadedModel) -> Callable[[Sequence[FloatArray]], Awaitable[Sequence[FloatArray]]]:
    """What a version's batcher runs: parts [n_i, *example] in, answers [n_i, *output] out."""

    async def run(parts: Sequence[FloatArray]) -> Sequence[FloatArray]:
        batch = tensors.stack(parts)
        answers = await model.infer(batch)
        if len(answers) != len(batch):
            raise EngineContractError(f"{len(answers)} answers to {len(batch)} examples")
        return tensors.split(answers, [len(part) for part in parts])

    return run


def check_answers(rows: FloatArray, signature: Signature) -> None:
    """Refuse to hand out nonsense: rows [n, *output] must be finite and, as probabilities, sum to 1.

    Raises EngineContractError.
    """
    if rows.shape[1:] != signature.output.example_shape:
        raise EngineContractError(f"{signature.name} answered rows of shape {rows.shape[1:]}")
    if not np.isfinite(rows).all():
        raise EngineContractError(f"{signature.name} answered NaN or infinity")
    if signature.task == "classification":
        worst = float(np.abs(rows.sum(axis=-1) - 1.0).max())
        if worst > PROBABILITY_SUM_TOLERANCE:
            raise EngineContractError(f"{signature.name}: probabilities are off a sum of 1 by {worst:.3g}")


def _why_cancelled(deadline: float) -> str:
    """GRPC cancels a call whose caller left, and one whose deadline has passed."""
    is_late = asyncio.get_running_loop().time() >= deadline - DEADLINE_SLACK_SECONDS
    return "DEADLINE_EXCEEDED" if is_late else "CANCELLED"


def _parts(rows: FloatArray, max_batch_size: int) -> list[Part[FloatArray]]:
    """Rows [n, *example] cut into pieces that an engine may see."""
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
