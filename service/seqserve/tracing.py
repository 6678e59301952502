"""What the gateway asks of tracing, and the tracing that does nothing. otlp.py is the real one.

Moments are those of `time.perf_counter()`, in seconds: one clock for a call and all of its phases.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Protocol

TRACEPARENT = "traceparent"
TRACEPARENT_PATTERN = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    r"(?P<more>-.*)?"
)
"""Version, trace, parent and flags; versions after 00 may add to it. Source: W3C Trace Context."""

Attributes = Mapping[str, str | int | float]
"""What is said of a span, by OpenTelemetry's names or by our own."""


class Tracing(Protocol):
    """Where spans go."""

    def span(
        self, method: str, request_id: str, metadata: Mapping[str, str]
    ) -> contextlib.AbstractContextManager[Span]:
        """A span for the length of the block, `current_span` in it. metadata: the call's, for its trace."""
        ...

    def shutdown(self) -> None:
        """Send what is left, as long as that takes not too long."""
        ...


class Span(Protocol):
    """What a call may add to its span."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, or "" where there is none."""
        ...

    def fail(self, error: Exception) -> None:
        """The call ends with that error, as seqserve.status maps it."""
        ...

    def note_code(self, code: str) -> None:
        """The gRPC code that the call ends with where no error says so: its caller has left."""
        ...


class RecordedSpan(Span, Protocol):
    """A span that phases of the call may be told to."""

    @property
    def is_recorded(self) -> bool:
        """Whether anybody will see it; the caller, or the sampler, decides that for a whole trace."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """What goes with whatever is asked of others on its behalf: `traceparent`, `tracestate`."""
        ...

    def describe(self, attributes: Attributes) -> None:
        """Add attributes."""
        ...

    def child(
        self,
        name: str,
        started: float,
        attributes: Attributes,
        links: Sequence[RecordedSpan] = (),
        *,
        is_remote: bool = False,
    ) -> RecordedSpan:
        """A part of it that has begun. links: what else it belongs to. is_remote: others are asked."""
        ...

    def end(self, ended: float) -> None:
        """It is over; a second end is none."""
        ...


current_span: ContextVar[RecordedSpan | None] = ContextVar("current_span", default=None)
"""Of the call that is answered here; None where calls are not traced."""


class NoTracing:
    """Nobody asked for traces."""

    trace_id = ""

    def span(
        self,
        method: str,  # noqa: ARG002 - as Tracing has it
        request_id: str,  # noqa: ARG002
        metadata: Mapping[str, str],  # noqa: ARG002
    ) -> contextlib.AbstractContextManager[Span]:
        """See Tracing."""
        return contextlib.nullcontext(self)

    def fail(self, error: Exception) -> None:
        """See Span."""

    def note_code(self, code: str) -> None:
        """See Span."""

    def shutdown(self) -> None:
        """See Tracing."""


def trace_id_of(metadata: Mapping[str, str]) -> str:
    """The trace that a caller says a call belongs to, for logs; "" without a valid `traceparent`."""
    found = TRACEPARENT_PATTERN.fullmatch(metadata.get(TRACEPARENT, ""))
    is_valid = found is not None and not (found["version"] == "00" and found["more"])
    return found["trace"] if found and is_valid else ""
