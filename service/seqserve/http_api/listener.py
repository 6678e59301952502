"""The HTTP server itself: uvicorn on the gateway's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.applications import Starlette

from seqserve.errors import AddressInUse, SettingsInvalid
from seqserve.http_api.acceptor import Acceptor
from seqserve.http_api.connection import (
    KEEP_ALIVE_SECONDS,
    MAX_HEAD_BYTES,
    Connection,
    ConnectionConfig,
)
from seqserve.http_api.tls import Tls

CLOSE_SECONDS = 2
"""For answers on their way, at the end of a drain."""
MAX_CONNECTIONS = 1024


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, since the gateway drains gRPC first, and with our Acceptor."""

    def __init__(self, config: ConnectionConfig, tls: Tls | None) -> None:
        super().__init__(config)
        self._limits = config
        self._tls = tls
        self._acceptors: list[Acceptor] = []

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the gateway."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen in our own way: see Acceptor."""
        self.servers = []
        for listening in sockets or []:
            acceptor = Acceptor(self._limits, self._tls, self.server_state.connections, self._make_connection)
            listening.listen(self.config.backlog)
            acceptor.start(listening)
            self._acceptors.append(acceptor)
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nothing more, then as uvicorn does."""
        for acceptor in self._acceptors:
            await acceptor.aclose()
        await super().shutdown(sockets)

    def _make_connection(self) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state)


class HttpListener:
    """One uvicorn server on one port.

    tls: None for plaintext. on_refused: called for each connection beyond max_connections, which is closed.
    """

    def __init__(
        self,
        app: Starlette,
        tls: Tls | None = None,
        *,
        max_connections: int = MAX_CONNECTIONS,
        on_refused: Callable[[], object] = lambda: None,
    ) -> None:
        # One HTTP implementation, so that its limits hold wherever this runs; no WebSockets.
        config = ConnectionConfig(
            app, http=Connection, ws="none", lifespan="off", log_config=None, log_level="error",
            access_log=False, server_header=False, proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=CLOSE_SECONDS,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )  # fmt: skip
        config.max_connections, config.on_refused = max_connections, on_refused
        self._server = _Server(config, tls)
        self._serving: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, return the port (a free one for 0). Raises AddressInUse."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # asyncio sends small answers at once (TCP_NODELAY) only where the protocol is said in so many words.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except socket.gaierror as error:
            listening.close()
            raise SettingsInvalid(
                f"host: {host!r} is no address of this machine: {error.strerror}"
            ) from error
        except OSError as error:
            listening.close()
            raise AddressInUse(
                f"http_port: cannot listen on {host}:{port}: {error.strerror}",
                hint="choose another with --http-port; 0 takes a free one",
            ) from error
        bound: int = listening.getsockname()[1]
        listening.listen()  # callers who are quicker than uvicorn's start wait in the backlog
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]))
        return bound

    async def stop(self) -> None:
        """Close, after the answers in flight; callers who are slow to send or to read are not waited for."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
