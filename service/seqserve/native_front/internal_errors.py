"""Tells the log of native requests that ended as INTERNAL: their callers hear an id to ask about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from seqserve.call_log import CallLine
from seqserve.errors import EngineContractError
from seqserve.grpc_api.refusals import report

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class InternalErrors:
    """find: the error that a number of EngineFault stands for, as long as it is kept."""

    find: Callable[[int], Exception | None]

    def news(self) -> dict[str, Callable[..., None]]:
        """Who takes which news of the desk."""
        return {"internal": self.note, "internal_left_out": self.count}

    def note(self, model: str, version: str, path: str, request_id: str, fault: int) -> None:
        """Log a request's end as the boundary does. fault: 0 for an output that did not pass its checks."""
        error = self.find(fault) if fault else None
        if error is None:
            error = EngineContractError(
                f"{model} version {version} answered what its signature does not allow"
            )
        method = path.removeprefix("/").replace("/", ".")
        report(error, CallLine(method, request_id, model=model, version=version))

    def count(self, calls: int) -> None:
        """Log how many more ended so: there were too many at once to write each one down."""
        log.error("more calls failed than the log takes", calls=calls)
