"""The HTTP server itself: uvicorn on the gateway's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

from seqserve.errors import AddressInUse, SettingsInvalid
from seqserve.http_api.connection import KEEP_ALIVE_SECONDS, MAX_HEAD_BYTES, Connection

CLOSE_SECONDS = 2
"""For answers on their way, at the end of a drain."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the gateway drains gRPC first, then HTTP."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the gateway."""
        yield


class HttpListener:
    """One uvicorn server on one port."""

    def __init__(self, app: Starlette) -> None:
        # One HTTP implementation, so that its limits hold wherever this runs; no WebSockets.
        config = uvicorn.Config(
            app, http=Connection, ws="none", lifespan="off", log_config=None, log_level="error",
            access_log=False, server_header=False, proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=CLOSE_SECONDS,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )  # fmt: skip
        self._server = _Server(config)
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
