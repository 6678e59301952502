"""Metrics that another server writes, served beside ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from seqserve.errors import EngineUnavailable

log = structlog.get_logger()

Source = Callable[[], Awaitable[bytes]]


class Relay:
    """Reads them anew for each scrape; while the other server is away there are none."""

    def __init__(self) -> None:
        self._source: Source | None = None

    def read_from(self, source: Source) -> None:
        """From now on. source: Prometheus' text format; raises EngineUnavailable."""
        self._source = source

    async def text(self) -> bytes:
        """Whole lines of Prometheus' text format, or nothing."""
        if self._source is None:
            return b""
        try:
            text = await self._source()
        except EngineUnavailable as error:
            log.debug("no metrics to relay", reason=str(error))
            return b""
        return text if text.endswith(b"\n") or not text else text + b"\n"
