"""Keeps a TorchServe of our own running: one that ended is started again, until it is stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import structlog

from seqserve.engines.timing import Time
from seqserve.errors import StartFault

log = structlog.get_logger()

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A server that ran for so long is started again without a delay; one that ends sooner has to wait."""


class Server(Protocol):
    """What can be kept running: a TorchServeServer."""

    async def ended(self) -> int | None:
        """Wait until it ends: its exit status, None where that is not known."""
        ...

    async def restart(self) -> object:
        """Start it again after it ended. Raises StartFault; it may be called again then."""
        ...


class Supervisor:
    """Watches one server.

    on_down: called when it has ended. on_up: called when it takes calls again.
    """

    def __init__(
        self,
        server: Server,
        *,
        on_down: Callable[[], None],
        on_up: Callable[[], None],
        time: Time | None = None,
    ) -> None:
        self._server = server
        self._time = time or Time()
        self._on_down = on_down
        self._on_up = on_up

    async def run(self) -> None:
        """Supervise until this task is cancelled."""
        delays = _delays()
        while True:
            started = self._time.now()
            status = await self._server.ended()
            self._on_down()
            log.error("torchserve ended; it is started again", status=status)
            if self._time.now() - started > STEADY_SECONDS:
                delays = _delays()
            await self._start_again(delays)
            self._on_up()

    async def _start_again(self, delays: Iterator[float]) -> None:
        while True:
            await self._time.sleep(next(delays))
            try:
                await self._server.restart()
            except StartFault as error:
                log.error("torchserve does not start", reason=str(error), hint=error.hint)
            except Exception:
                log.exception("torchserve does not start")
            else:
                return


def _delays() -> Iterator[float]:
    """0 s, then twice as long each time."""
    yield 0.0
    delay = FIRST_DELAY_SECONDS
    while True:
        yield delay
        delay = min(2 * delay, LONGEST_DELAY_SECONDS)
