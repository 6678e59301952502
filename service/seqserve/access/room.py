"""What one client may have under way at once, and how often it may come, whichever token it uses."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Literal

from seqserve.access.rate import Rate
from seqserve.client_settings import ClientSettings
from seqserve.errors import ClientOverLimit

Limit = Literal["concurrency", "rate"]


class Room:
    """A block `with room:` is one inference request; there may be many at once, on one event loop.

    refused: called with the limit that a request met, before ClientOverLimit is raised.
    admitted: called for each request that met none.
    """

    def __init__(
        self,
        limits: ClientSettings,
        clock: Callable[[], float],
        refused: Callable[[Limit], None],
        admitted: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._refused = refused
        self._admitted = admitted
        self._in_flight = 0
        self._rate: Rate | None = None
        self.change(limits)

    def change(self, limits: ClientSettings) -> None:
        """Hold to other limits from now on; what is under way counts for them."""
        self._most = limits.max_concurrent_requests
        per_second = limits.max_requests_per_second
        if per_second is None:
            self._rate = None
        elif self._rate is None:
            self._rate = Rate(per_second, self._clock())
        else:
            self._rate.change(per_second, self._clock())

    def __enter__(self) -> None:
        if self._most is not None and self._in_flight >= self._most:
            self._refused("concurrency")
            raise ClientOverLimit(
                f"this client has {self._in_flight} requests under way, and may have {self._most}"
            )
        if self._rate is not None and (seconds := self._rate.take(self._clock())):
            self._refused("rate")
            raise ClientOverLimit(
                "this client sends more requests a second than it may", retry_after_seconds=seconds
            )
        self._in_flight += 1
        self._admitted()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._in_flight -= 1
