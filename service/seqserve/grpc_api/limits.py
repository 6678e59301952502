"""What a gRPC server takes from its peers at most, as the options of gRPC's core."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from seqserve.message_size import needed_bytes
from seqserve.signature import Signature

log = structlog.get_logger()

NEVER_MS = 2**31 - 1
"""gRPC's own word for no limit."""


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """Limits of one listener.

    max_connections: at once, from before their handshakes; those beyond are closed.
    max_concurrent_streams: calls at once on one connection; more wait at the caller's side.
    keepalive_seconds: a peer that says nothing for so long is pinged; one that does not answer is gone.
    keepalive_minimum_seconds: a peer that pings more often is disconnected.
    handshake_timeout_seconds, idle_timeout_seconds: for new connections, and for those without calls.
    max_connection_age_seconds: after about that a connection takes no new calls; gRPC spreads it by a tenth.
    max_connection_age_grace_seconds: how long its calls may go on then. 0 is no limit, for either.
    """

    max_message_bytes: int
    max_connections: int
    max_concurrent_streams: int
    keepalive_seconds: float
    keepalive_minimum_seconds: float
    handshake_timeout_seconds: float
    idle_timeout_seconds: float
    max_connection_age_seconds: float = 0.0
    max_connection_age_grace_seconds: float = 0.0

    def warn_of_what_does_not_fit(self, signature: Signature, max_request_examples: int) -> None:
        """Say in the log where the largest requests of a model are larger than a message may be."""
        needed = needed_bytes(signature, max_request_examples)
        if needed > self.max_message_bytes:
            log.warning(
                "the largest requests of this model do not fit into a message",
                model=signature.name, version=signature.version, needed_bytes=needed,
                limit_bytes=self.max_message_bytes, hint="restart, or set max_message_bytes",
            )  # fmt: skip

    def options(self) -> list[tuple[str, int]]:
        """Source of the names: gRPC core, include/grpc/impl/channel_arg_names.h."""
        return [
            ("grpc.so_reuseport", 0),  # or a second gateway would share the port in silence
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_allowed_incoming_connections", self.max_connections),
            ("grpc.max_concurrent_streams", self.max_concurrent_streams),
            ("grpc.keepalive_time_ms", _ms(self.keepalive_seconds)),
            ("grpc.http2.min_ping_interval_without_data_ms", _ms(self.keepalive_minimum_seconds)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.server_handshake_timeout_ms", _ms(self.handshake_timeout_seconds)),
            ("grpc.max_connection_idle_ms", _ms(self.idle_timeout_seconds)),
            ("grpc.max_connection_age_ms", _ms_or_never(self.max_connection_age_seconds)),
            ("grpc.max_connection_age_grace_ms", _ms_or_never(self.max_connection_age_grace_seconds)),
        ]


def _ms_or_never(seconds: float) -> int:
    return max(1, _ms(seconds)) if seconds else NEVER_MS


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
