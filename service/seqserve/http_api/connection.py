"""One HTTP connection, held to its time: a head that does not come ends it, and so does an answer unread.

There are so many at most; the next one is closed before anything of it is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from seqserve.http_api.framing import StrictConnection

KEEP_ALIVE_SECONDS = 75
"""Longer than load balancers keep their idle connections, so that they are the ones who close."""
HEAD_SECONDS = 10.0
"""From the connection, or the end of an idle time, to a whole head."""
MAX_HEAD_BYTES = 2**15
REPLY_SECONDS = 60.0
"""For what has been written of an answer to be taken by the caller's side."""
LAST_REPLY_SECONDS = 1.0
"""The same once the port closes."""


class ConnectionConfig(uvicorn.Config):
    """uvicorn's, with how many connections there may be at once, and whom to tell of those beyond.

    uvicorn's own `limit_concurrency` keeps what it refuses open, and refuses probes on old connections.
    """

    max_connections: int
    on_refused: Callable[[], object]


class Connection(H11Protocol):
    """uvicorn's, which has no limit for a head that trickles, nor for an answer that nobody reads.

    It also ends a body that goes on after its request has been refused; uvicorn reads and drops it, so
    that the caller sees the refusal.
    """

    config: ConnectionConfig
    _head_timer: asyncio.TimerHandle | None = None
    _reply_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """See asyncio.Protocol."""
        super().connection_made(transport)
        if len(self.connections) > self.config.max_connections:
            self.config.on_refused()
            transport.abort()
            return
        # Writing is paused until all of it has left. With a limit of 0 asyncio's TLS would pause for ever.
        self.conn = StrictConnection(h11.SERVER, MAX_HEAD_BYTES)
        transport.set_write_buffer_limits(high=1, low=0)
        self._await_head(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        _stop(self._head_timer)
        _stop(self._reply_timer)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        super().pause_writing()
        self._await_reader(REPLY_SECONDS)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        super().resume_writing()
        _stop(self._reply_timer)

    def shutdown(self) -> None:
        """Called by uvicorn when the port closes."""
        super().shutdown()
        if self.flow.write_paused:
            self._await_reader(LAST_REPLY_SECONDS)

    def on_response_complete(self) -> None:
        """Called by uvicorn when an answer has been written."""
        self._await_head(KEEP_ALIVE_SECONDS + HEAD_SECONDS)
        super().on_response_complete()

    def _await_head(self, seconds: float) -> None:
        _stop(self._head_timer)
        self._head_timer = self.loop.call_later(seconds, self._close_unless_busy)

    def _await_reader(self, seconds: float) -> None:
        """Drop the connection, and what is left to write, unless all of it leaves in time."""
        _stop(self._reply_timer)
        self._reply_timer = self.loop.call_later(seconds, self.transport.abort)

    def _close_unless_busy(self) -> None:
        cycle: Any = self.cycle  # None before the first request
        if cycle is None or cycle.response_complete:
            self.transport.close()


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
