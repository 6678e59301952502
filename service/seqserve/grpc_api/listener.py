"""The gRPC server itself: port, limits, services."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import grpc
from grpc_reflection.v1alpha import reflection

from seqserve.errors import AddressInUse
from seqserve.grpc_api.boundary import Handler

KEEPALIVE_MINIMUM_MS = 10_000
HANDSHAKE_TIMEOUT_MS = 10_000
IDLE_TIMEOUT_MS = 600_000  # a connection without calls is closed; clients open another when they call


class GrpcListener:
    """One grpc.aio server on one port."""

    def __init__(self, handlers: Sequence[Handler], max_message_bytes: int) -> None:
        self.server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # or a second gateway would share the port in silence
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", max_message_bytes),
                ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MINIMUM_MS),
                ("grpc.server_handshake_timeout_ms", HANDSHAKE_TIMEOUT_MS),
                ("grpc.max_connection_idle_ms", IDLE_TIMEOUT_MS),
            ]
        )
        self.server.add_generic_rpc_handlers(tuple(handlers))

    def enable_reflection(self, services: Sequence[str]) -> None:
        """Let clients ask which services there are."""
        reflection.enable_server_reflection([*services, reflection.SERVICE_NAME], self.server)

    async def start(self, host: str, port: int) -> int:
        """Listen, return the port (a free one for 0). Raises AddressInUse."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            _try_to_bind(host, port)
            bound = self.server.add_insecure_port(address)
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or "gRPC refuses it"
            raise AddressInUse(
                f"grpc_port: cannot listen on {address}: {reason}",
                hint="choose another with --grpc-port; 0 takes a free one",
            ) from error
        await self.server.start()
        return bound

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, let those in flight finish within the grace period."""
        await self.server.stop(grace_seconds)


def _try_to_bind(host: str, port: int) -> None:
    """Raise OSError that says why not; gRPC would write lines of its own to standard error."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
