"""Everything that listens: gRPC, HTTP and, where wished for, the ports for probes and administrators."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from starlette.applications import Starlette

from seqserve.access.gate import Gate
from seqserve.certificates import Certificates, TlsFiles
from seqserve.grpc_api.boundary import Handler
from seqserve.grpc_api.guard import Guard
from seqserve.grpc_api.health import SERVICE as HEALTH_SERVICE
from seqserve.grpc_api.health import Health
from seqserve.grpc_api.health_port import HealthPort
from seqserve.grpc_api.health_statuses import StatusesForProbes
from seqserve.grpc_api.limits import GrpcLimits
from seqserve.grpc_api.listener import GrpcListener
from seqserve.grpc_api.reflection import reflection_handler
from seqserve.grpc_api.scopes import scope_of, scope_on_admin_port
from seqserve.http_api.listener import HttpListener
from seqserve.http_api.tls import Tls
from seqserve.message_size import message_limit_bytes
from seqserve.metrics.counts import Metrics
from seqserve.settings import Settings
from seqserve.signature import Signature

ADMIN_HOST = "127.0.0.1"

PortName = Literal["grpc", "http", "admin", "health"]


class Listener(Protocol):
    """A gRPC server on one port."""

    async def start(self, host: str, port: int) -> int:
        """Listen, return the port (a free one for 0). Raises AddressInUse."""
        ...

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, let those in flight finish within the grace period."""
        ...


MakeListener = Callable[[Sequence[Handler], Certificates | None], Listener]
"""Makes the main port's from the handlers that stand behind the gate."""


@dataclass(slots=True)
class Ports:
    """They are made before anything listens, so that nobody is answered by half a gateway.

    bound: the port numbers, once `start` is over.
    """

    grpc: Listener
    http: HttpListener
    admin: GrpcListener | None
    probes: HealthPort | None
    bound: dict[PortName, int] = field(default_factory=dict)

    async def start(self, settings: Settings) -> None:
        """Listen. Raises AddressInUse."""
        self.bound["http"] = await self.http.start(settings.host, settings.http_port)
        self.bound["grpc"] = await self.grpc.start(settings.host, settings.grpc_port)
        if self.admin is not None:
            self.bound["admin"] = await self.admin.start(ADMIN_HOST, settings.admin_port or 0)
        if self.probes is not None:
            self.bound["health"] = self.probes.start(settings.host, settings.health_port or 0)

    async def stop_calls(self, grace_seconds: float) -> None:
        """Refuse new gRPC calls, let those in flight finish within the grace period."""
        listeners = [self.grpc, *([] if self.admin is None else [self.admin])]
        await asyncio.gather(*(listener.stop(grace_seconds) for listener in listeners))

    async def stop_rest(self) -> None:
        """Close HTTP after its answers in flight, then the port for probes."""
        await self.http.stop()
        if self.probes is not None:
            await self.probes.stop()


def make_ports(
    settings: Settings,
    limits: GrpcLimits,
    *,
    health: Health,
    app: Starlette,
    certificates: Certificates | None,
    handlers: Sequence[Handler],
    admin_handler: Handler,
    services: Sequence[str],
    gate: Gate,
    on_refused_connection: Callable[[], object],
    make_main: MakeListener | None = None,
) -> Ports:
    """The ports that the settings ask for.

    services: names for reflection. gate: all of gRPC stands behind it, but for probes.
    certificates: None for plaintext. make_main: of the main gRPC port, where it is not grpc.aio's.
    """
    admin = probes = tls = None
    if certificates is not None:
        tls = Tls(certificates, settings.handshake_timeout_seconds)
    if settings.admin_port is not None:
        guarded = [Guard(admin_handler, gate, scope_on_admin_port)]
        admin = GrpcListener(guarded, limits, certificates=certificates, setting="admin_port")
    if settings.health_port is not None:
        probes = HealthPort(StatusesForProbes(health.statuses, lambda: _is_for_all(settings, gate)), limits)
    main = [*handlers, health.handler(), reflection_handler([*services, HEALTH_SERVICE])]
    guarded = [Guard(handler, gate, scope_of) for handler in main]
    if make_main is None:
        grpc: Listener = GrpcListener(
            guarded, limits, certificates=certificates, on_unheard=health.note_unheard
        )
    else:
        grpc = make_main(guarded, certificates)
    http = HttpListener(
        app, tls, max_connections=settings.max_http_connections, on_refused=on_refused_connection
    )
    return Ports(grpc, http, admin, probes)


def _is_for_all(settings: Settings, gate: Gate) -> bool:
    """Whether callers need neither a certificate nor a token."""
    return gate.is_open and settings.tls_client_ca is None


def followed_certificates(settings: Settings, metrics: Metrics) -> Certificates | None:
    """Those of all ports but the one for probes; None for plaintext. Raises SettingsInvalid."""
    key, certificate = settings.tls_key, settings.tls_certificate
    if key is None or certificate is None:
        return None
    certificates = Certificates(TlsFiles(key, certificate, settings.tls_client_ca), metrics.count_tls_reload)
    metrics.watch_certificate(certificates.expiry_timestamp)
    return certificates


def grpc_limits(settings: Settings, signatures: Iterable[Signature]) -> GrpcLimits:
    """What the gRPC ports take, by the settings and the models."""
    return GrpcLimits(
        max_message_bytes=message_limit_bytes(
            settings.max_message_bytes, signatures, settings.max_request_examples
        ),
        max_connections=settings.max_grpc_connections,
        max_concurrent_streams=settings.max_concurrent_streams,
        keepalive_seconds=settings.keepalive_seconds,
        keepalive_minimum_seconds=settings.keepalive_minimum_seconds,
        handshake_timeout_seconds=settings.handshake_timeout_seconds,
        idle_timeout_seconds=settings.idle_timeout_seconds,
        max_connection_age_seconds=settings.max_connection_age_seconds,
        max_connection_age_grace_seconds=settings.max_connection_age_grace_seconds,
    )
