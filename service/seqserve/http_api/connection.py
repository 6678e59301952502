"""One HTTP connection, held to its time: a request's head that does not come ends it."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

KEEP_ALIVE_SECONDS = 75
"""Longer than load balancers keep their idle connections, so that they are the ones who close."""
HEAD_SECONDS = 10.0
"""From the connection, or the end of an idle time, to a whole head."""
MAX_HEAD_BYTES = 2**15


class Connection(H11Protocol):
    """uvicorn's, which has no limit for a head that trickles.

    It also ends a body that goes on after its request has been refused; uvicorn reads and drops it, so
    that the caller sees the refusal.
    """

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._await_head(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        self._stop_timer()

    def on_response_complete(self) -> None:
        """Called by uvicorn when an answer has been written."""
        self._await_head(KEEP_ALIVE_SECONDS + HEAD_SECONDS)
        super().on_response_complete()

    def _await_head(self, seconds: float) -> None:
        self._stop_timer()
        self._head_timer = self.loop.call_later(seconds, self._close_unless_busy)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()

    def _close_unless_busy(self) -> None:
        cycle: Any = self.cycle  # None before the first request
        if cycle is None or cycle.response_complete:
            self.transport.close()
