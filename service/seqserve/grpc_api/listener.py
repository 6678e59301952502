"""The gRPC server itself: limits, services, and another one where it ends by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import grpc
import structlog

from seqserve.certificates import Certificates
from seqserve.errors import AddressInUse
from seqserve.grpc_api.binding import address_of, listen
from seqserve.grpc_api.boundary import Handler
from seqserve.grpc_api.limits import GrpcLimits

log = structlog.get_logger()

WATCH_SECONDS = 0.1
RETRY_SECONDS = 1.0
"""After what is no taken port; it is told at most so often."""
LEFT_SECONDS = 30.0
"""For calls of a server that has ended by itself."""


class GrpcListener:
    """A grpc.aio server on one port, and the next one where it ends by itself.

    setting: what the port is called where it is taken. certificates: None for plaintext. on_unheard: hears
    why nobody listens, and "" once somebody does again.
    """

    def __init__(
        self,
        handlers: Sequence[Handler],
        limits: GrpcLimits,
        *,
        certificates: Certificates | None = None,
        setting: str = "grpc_port",
        on_unheard: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._handlers, self._limits = tuple(handlers), limits
        self._certificates = certificates
        self._setting = setting
        self._on_unheard = on_unheard
        self._server: grpc.aio.Server | None = None
        self._bound: grpc.aio.Server | None = None
        self._old: dict[asyncio.Task[None], grpc.aio.Server] = {}
        self._watching: asyncio.Task[None] | None = None
        self._unheard = ""

    async def start(self, host: str, port: int) -> int:
        """Listen, return the port (a free one for 0). Raises AddressInUse."""
        self._server = self._new_server()
        bound = listen(self._server, host, port, self._setting, self._certificates)
        await self._server.start()
        self._watching = asyncio.create_task(self._watch(host, bound))
        return bound

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, let those in flight finish within the grace period, whichever server has them."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        servers = [self._server, self._bound, *self._old.values()]
        await asyncio.gather(*(_stop(server, grace_seconds) for server in servers if server))

    def _new_server(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=self._limits.options())
        server.add_generic_rpc_handlers(self._handlers)
        return server

    async def _watch(self, host: str, port: int) -> None:
        """Put another server in the place of one that ends by itself, as often as it takes.

        grpc.aio's does, in 1.85 at least, where the path of a call is no UTF-8, which anybody may send.
        """
        while True:
            try:
                await self._look(host, port)
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody else would try again
                with contextlib.suppress(Exception):  # it is told at the next try
                    self._tell(address_of(host, port), str(error) or repr(error))
                await asyncio.sleep(WATCH_SECONDS if isinstance(error, AddressInUse) else RETRY_SECONDS)

    async def _look(self, host: str, port: int) -> None:
        """Raises whatever keeps another server from listening, or this one from being watched."""
        ended = None if self._server is None else await why_ended(self._server)
        if self._server is not None and ended is not None:
            self._retire(self._server)
            self._server = None
            log.error("gRPC server ended by itself, another one begins", reason=repr(ended))
        if self._server is None:
            await self._replace(host, port)
        self._tell(address_of(host, port), "")

    def _retire(self, server: grpc.aio.Server) -> None:
        """Take it away once its calls have ended, for which they have some time."""
        task = asyncio.create_task(_stop(server, LEFT_SECONDS))
        self._old[task] = server
        task.add_done_callback(self._old.pop)

    async def _replace(self, host: str, port: int) -> None:
        """What is bound is kept until it starts: gRPC does not give back the port of one that never did."""
        if self._bound is None:
            server = self._new_server()
            listen(server, host, port, self._setting, self._certificates)
            self._bound = server
        await self._bound.start()
        self._server, self._bound = self._bound, None

    def _tell(self, address: str, reason: str) -> None:
        """Why nobody listens, once for each reason; "" where somebody does."""
        if self._server is not None and reason:
            log.warning("gRPC server cannot be watched", reason=reason)
        elif reason != self._unheard:
            self._on_unheard(reason)
            if reason:
                log.error("nobody listens for gRPC yet", address=address, reason=reason)
            self._unheard = reason


async def why_ended(server: grpc.aio.Server) -> Exception | None:
    """What ended a server by itself; None of one that has not ended after a while.

    Raises what the waiting itself met: a server that has ended raises one and the same error from each wait.
    """
    try:
        await server.wait_for_termination(WATCH_SECONDS)
    except Exception as error:
        if await _is_raised_again(server, error):
            return error
        raise
    return None


async def _is_raised_again(server: grpc.aio.Server, error: Exception) -> bool:
    try:
        await server.wait_for_termination(0)
    except Exception as again:  # noqa: BLE001 - compared
        return again is error
    return False


async def _stop(server: grpc.aio.Server, grace_seconds: float) -> None:
    """Return when its calls have ended, or were ended after the grace period."""
    try:
        await server.stop(grace_seconds)
    except Exception:  # noqa: BLE001 - of the server's own end, whose first stop raises it and waits for nothing
        await server.stop(grace_seconds)
