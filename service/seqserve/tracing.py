"""What the gateway asks of tracing, and the tracing that does nothing. otlp.py is the real one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Protocol


class Tracing(Protocol):
    """Where spans go."""

    def span(
        self, method: str, request_id: str, metadata: Mapping[str, str]
    ) -> contextlib.AbstractContextManager[Span]:
        """A span for the length of the block. metadata: the call's, for the caller's trace."""
        ...

    def shutdown(self) -> None:
        """Send what is left."""
        ...


class Span(Protocol):
    """What a call may add to its span."""

    def fail(self, code: str) -> None:
        """The call ends with that gRPC status."""
        ...


class NoTracing:
    """Nobody asked for traces."""

    def span(
        self,
        method: str,  # noqa: ARG002 - as Tracing has it
        request_id: str,  # noqa: ARG002
        metadata: Mapping[str, str],  # noqa: ARG002
    ) -> contextlib.AbstractContextManager[Span]:
        """See Tracing."""
        return contextlib.nullcontext(self)

    def fail(self, code: str) -> None:
        """See Span."""

    def shutdown(self) -> None:
        """See Tracing."""
