"""The native gRPC server as the gateway's main port: what grpc_api.listener is to grpc.aio's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from seqserve.certificates import Certificates, Identity
from seqserve.grpc_api.binding import address_in_use, address_of, try_to_bind
from seqserve.native_front.calls import Calls
from seqserve.native_front.streams import NativeStreams

if TYPE_CHECKING:
    from seqserve.native_front._native import Server

Pem = tuple[bytes, bytes, bytes | None]
"""Key, chain, and who may sign clients' certificates."""


class NativeListener:
    """One native server on one port.

    calls, streams: answer what is Python's. setting: what the port is called where it is taken.
    certificates: None for plaintext.
    """

    def __init__(
        self,
        server: Server,
        calls: Calls,
        streams: NativeStreams,
        *,
        certificates: Certificates | None = None,
        setting: str = "grpc_port",
    ) -> None:
        self.server = server
        self._calls = calls
        self._streams = streams
        self._certificates = certificates
        self._setting = setting

    async def start(self, host: str, port: int) -> int:
        """Listen, return the port (a free one for 0). Raises AddressInUse."""
        identity = None if self._certificates is None else news_of(self._certificates)
        try:
            try_to_bind(host, port)
            return self.server.listen(address_of(host, port), identity)
        except OSError as error:
            raise address_in_use(self._setting, host, port, error) from error

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, let those in flight finish within the grace period; no task is left."""
        # In a thread: what is in flight is answered by this loop meanwhile.
        await asyncio.to_thread(self.server.stop, max(0, int(grace_seconds * 1e9)))
        await self._streams.aclose()
        await self._calls.aclose()


def news_of(certificates: Certificates) -> Callable[[], Pem | None]:
    """The identity in use, or None where it is the one that was given last; for any thread."""
    given: Identity | None = None

    def news() -> Pem | None:
        nonlocal given
        current = certificates.current()
        if current is given:
            return None
        given = current
        return current.key_pem, current.chain_pem, current.client_ca_pem

    return news
