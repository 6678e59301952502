"""Tells the log of native requests that ended as INTERNAL: their callers hear an id to ask about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from seqserve.errors import EngineContractError
from seqserve.grpc_api.refusals import report


@dataclass(frozen=True, slots=True)
class InternalErrors:
    """find: the error that a number of EngineFault stands for, as long as it is kept."""

    find: Callable[[int], Exception | None]

    def news(self) -> dict[str, Callable[..., None]]:
        """Who takes which news of the desk."""
        return {"internal": self.note}

    def note(self, model: str, version: str, path: str, request_id: str, fault: int) -> None:
        """Log a request's end as the boundary does. fault: 0 for an output that did not pass its checks."""
        error = self.find(fault) if fault else None
        if error is None:
            error = EngineContractError(
                f"{model} version {version} answered what its signature does not allow"
            )
        report(error, request_id, path.removeprefix("/").replace("/", "."))
