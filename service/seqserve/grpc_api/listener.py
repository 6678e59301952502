"""The gRPC server itself: port, limits, services."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine, Sequence

import grpc
import structlog

from seqserve.certificates import Certificates, Identity
from seqserve.errors import AddressInUse
from seqserve.grpc_api.boundary import Handler
from seqserve.grpc_api.limits import GrpcLimits

log = structlog.get_logger()

WATCH_SECONDS = 0.1
LEFT_SECONDS = 30.0
"""For calls of a server that has ended by itself."""


class GrpcListener:
    """One grpc.aio server on one port.

    setting: what the port is called where it is taken. certificates: None for plaintext.
    """

    def __init__(
        self,
        handlers: Sequence[Handler],
        limits: GrpcLimits,
        *,
        certificates: Certificates | None = None,
        setting: str = "grpc_port",
    ) -> None:
        self._setting = setting
        self._certificates = certificates
        self._handlers, self._limits = tuple(handlers), limits
        self.server = self._made()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    async def start(self, host: str, port: int) -> int:
        """Listen, return the port (a free one for 0). Raises AddressInUse."""
        bound = listen(self.server, host, port, self._setting, self._certificates)
        await self.server.start()
        self._begin(self._watch(host, bound))
        return bound

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, let those in flight finish within the grace period."""
        self._is_stopping = True
        for task in self._tasks:
            task.cancel()
        await self.server.stop(grace_seconds)

    def _made(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=self._limits.options())
        server.add_generic_rpc_handlers(self._handlers)
        return server

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, host: str, port: int) -> None:
        """Put another server in the place of one that ends by itself.

        grpc.aio's does, in 1.85 at least, where the path of a call is no UTF-8, which anybody may send.
        """
        while not self._is_stopping:
            try:
                await self.server.wait_for_termination(WATCH_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever ended it
                log.error("gRPC server ended by itself, another one begins", reason=repr(error))
                self._begin(_end(self.server))
                await self._begin_again(host, port)

    async def _begin_again(self, host: str, port: int) -> None:
        """As soon as the port is free."""
        is_told = False
        while not await self._has_begun(host, port):
            if not is_told:
                log.error("nobody listens for gRPC yet", address=address_of(host, port), reason="it is taken")
            is_told = True
            await asyncio.sleep(WATCH_SECONDS)

    async def _has_begun(self, host: str, port: int) -> bool:
        server = self._made()
        try:
            listen(server, host, port, self._setting, self._certificates)
        except AddressInUse:
            return False
        self.server = server
        await server.start()
        return True


async def _end(server: grpc.aio.Server) -> None:
    """Take away what is left of a server that has ended by itself; its calls have some time to end."""
    await server.stop(LEFT_SECONDS)


def listen(
    server: grpc.Server | grpc.aio.Server,
    host: str,
    port: int,
    setting: str,
    certificates: Certificates | None = None,
) -> int:
    """Bind a server that starts later to a port (a free one for 0); return it. Raises AddressInUse.

    setting: what the port is called where it is taken. certificates: None for plaintext.
    """
    address = address_of(host, port)
    try:
        try_to_bind(host, port)
        if certificates is not None:
            return server.add_secure_port(address, _credentials(certificates))
        return server.add_insecure_port(address)
    except (OSError, RuntimeError) as error:
        raise address_in_use(setting, host, port, error) from error


def address_of(host: str, port: int) -> str:
    """As gRPC wants it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_in_use(setting: str, host: str, port: int, error: Exception) -> AddressInUse:
    """What is told where gRPC cannot listen. setting: what the port is called."""
    reason = getattr(error, "strerror", None) or "gRPC refuses it"
    return AddressInUse(
        f"{setting}: cannot listen on {address_of(host, port)}: {reason}",
        hint=f"choose another with --{setting.replace('_', '-')}; 0 takes a free one",
    )


def try_to_bind(host: str, port: int) -> None:
    """Raise OSError that says why not; gRPC would write lines of its own to standard error."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))


def _credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Of the identity in use; gRPC asks for a new one at each handshake, in threads of its own."""
    given = certificates.current()

    def news() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given
        current = certificates.current()
        if current is given:
            return None
        given = current
        return _configuration(current)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given),
        news,  # type: ignore[arg-type]  # None is that nothing has changed, see the function's docs
        require_client_authentication=given.client_ca_pem is not None,
    )


def _configuration(identity: Identity) -> grpc.ServerCertificateConfiguration:
    pairs = [(identity.key_pem, identity.chain_pem)]
    return grpc.ssl_server_certificate_configuration(pairs, root_certificates=identity.client_ca_pem)
