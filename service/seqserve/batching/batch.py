"""A sealed batch: what one run of an engine takes, and who gets what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

from seqserve.batching.admission import Outcome, P, Part, R, Request
from seqserve.errors import EngineContractError


@dataclass(slots=True, eq=False)
class Batch(Generic[P, R]):
    """Payloads, and for each the request that it belongs to; a split request may be there twice.

    sealed: when, in the clock's seconds. is_overdue: its callers were answered without the engine.
    """

    payloads: list[P] = field(default_factory=list)
    requests: list[Request[P, R]] = field(default_factory=list)
    examples: int = 0
    sealed: float = 0.0
    is_overdue: bool = False

    def add(self, request: Request[P, R], part: Part[P]) -> None:
        """Take one more part."""
        self.payloads.append(part.payload)
        self.requests.append(request)
        self.examples += part.examples

    def check_count(self, results: Sequence[R]) -> None:
        """Raise EngineContractError where there is not one result for each payload."""
        if len(results) != len(self.payloads):
            raise EngineContractError(f"{len(results)} results for {len(self.payloads)} payloads")

    def answer(self, results: Sequence[R], compute_seconds: float) -> None:
        """Hand out the results, in the order of the payloads."""
        for request, result in zip(self.requests, results, strict=True):
            queue_seconds = self.sealed - request.arrived
            request.append(Outcome(result, queue_seconds, compute_seconds, self.examples))

    def fail(self, error: Exception) -> None:
        """Answer with `error` all who have no answer yet."""
        for request in self.requests:
            request.fail(error)
