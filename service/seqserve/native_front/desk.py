"""The event loop's end of the desk where native threads leave their news."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import structlog

from seqserve.native_front import _native

log = structlog.get_logger()

TURN = 16
"""So much is handed out before other work of the loop has its turn: a piece of news may take milliseconds."""


class EventDesk:
    """Hands each piece of news to whoever asked for its kind."""

    def __init__(self) -> None:
        self.native = _native.Desk()
        self._handlers: dict[str, Callable[..., None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def on(self, kind: str, handler: Callable[..., None]) -> None:
        """handler: takes what comes after the kind, see _native.Desk; called on the event loop."""
        self._handlers[kind] = handler

    def start(self) -> None:
        """Listen on the running event loop. Handlers are there already."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.native.fileno(), self.dispatch, TURN)

    def stop(self) -> None:
        """Listen no more; a second time does nothing."""
        if self._loop is not None:
            self._loop.remove_reader(self.native.fileno())
            self._loop = None

    def dispatch(self, most: int = sys.maxsize) -> None:
        """Hand out what lies there now, the oldest first."""
        for kind, *news in self.native.take(most):
            try:
                self._handlers[kind](*news)
            except Exception:
                log.exception("news of the native front were lost", kind=kind)
