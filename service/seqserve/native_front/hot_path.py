"""Whether the native server may answer by itself: not where Python has to see each call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from seqserve.access.gate import Gate
from seqserve.tracing import NoTracing, Tracing

if TYPE_CHECKING:
    from seqserve.native_front._native import Server

log = structlog.get_logger()


class HotPath:
    """Switches it; `look` is to be called whenever who may call has changed."""

    def __init__(self, server: Server, gate: Gate, tracing: Tracing) -> None:
        self._server = server
        self._gate = gate
        self._tracing = tracing
        self._told = ""

    def look(self) -> None:
        """Switch it on or off; that it is off is in the log once."""
        reason = self._why_not()
        self._server.set_hot(not reason)
        if reason and reason != self._told:
            log.warning("the native front has no hot path: each call goes through Python", reason=reason)
        self._told = reason

    def _why_not(self) -> str:
        if not self._gate.is_open:
            return "clients have tokens, and limits of their own"
        if not isinstance(self._tracing, NoTracing):
            return "calls are traced"
        return ""
