"""Takes connections, with TLS from before their handshake, and counts them.

asyncio's own server tells of a connection only once its handshake is over: of those that say nothing there
could be any number. And where the process has no files left, Python 3.11's tries once for each place of its
backlog before it waits, and writes a traceback each time: 2,048 of them a second, on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Collection

import structlog

from seqserve.http_api.connection import Connection, ConnectionConfig
from seqserve.http_api.tls import Tls

RETRY_SECONDS = 1.0
"""Until the next try after a fault, as in asyncio's own server; most are a want of files or of memory."""

log = structlog.get_logger()


class Acceptor:
    """Accepts on one socket, which listens, until it is closed.

    tls: None for plaintext. connections: those whose handshake is over; uvicorn keeps them. make: one that is
    not yet connected.
    """

    def __init__(
        self,
        limits: ConnectionConfig,
        tls: Tls | None,
        connections: Collection[object],
        make: Callable[[], Connection],
    ) -> None:
        self._limits = limits
        self._options = {} if tls is None else tls.options()
        self._connections = connections
        self._make = make
        self._handshakes: dict[asyncio.Task[None], Connection] = {}
        self._accepting: asyncio.Task[None] | None = None

    def start(self, listening: socket.socket) -> None:
        """Accept from now on."""
        listening.setblocking(False)  # noqa: FBT003 - as the standard library has it
        self._accepting = asyncio.create_task(self._accept_all(listening))

    async def aclose(self) -> None:
        """Accept nothing more, and drop what has not finished its handshake; the rest goes on."""
        tasks = [*self._handshakes, *filter(None, [self._accepting])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept_all(self, listening: socket.socket) -> None:
        while True:
            try:
                await self._accept(listening)
            except ConnectionAbortedError:  # gone before it was taken
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, the next one is to be accepted
                with contextlib.suppress(Exception):  # a log without memory
                    log.warning("no connection can be accepted", error=_words(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _accept(self, listening: socket.socket) -> None:
        accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
        try:
            self._take(accepted)
        except BaseException:
            accepted.close()
            raise
        await asyncio.sleep(0)  # sock_accept does not wait while there are more

    def _take(self, accepted: socket.socket) -> None:
        if self._is_full():
            accepted.close()
            self._limits.on_refused()
        else:
            self._welcome(accepted)

    def _is_full(self) -> bool:
        """One whose handshake has just ended is in both."""
        early = sum(one not in self._connections for one in self._handshakes.values())
        return early + len(self._connections) >= self._limits.max_connections

    def _welcome(self, accepted: socket.socket) -> None:
        connection = self._make()
        task = asyncio.create_task(self._shake_hands(accepted, connection))
        self._handshakes[task] = connection
        task.add_done_callback(self._handshakes.pop)

    async def _shake_hands(self, accepted: socket.socket, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: connection, accepted, **self._options)
        except OSError:  # a caller's fault: no TLS, no certificate, too slow, gone
            pass
        except Exception:  # whatever of ours: the caller hears of it by the end of the connection
            accepted.close()
            log.exception("a connection cannot be taken")


def _words(error: Exception) -> str:
    """The system's where they are its own."""
    return getattr(error, "strerror", None) or repr(error)
