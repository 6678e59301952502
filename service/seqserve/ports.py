"""Everything that listens: gRPC, HTTP and, where wished for, the ports for probes and administrators."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from seqserve.grpc_api.boundary import Handler
from seqserve.grpc_api.health import SERVICE as HEALTH_SERVICE
from seqserve.grpc_api.health import Health
from seqserve.grpc_api.health_port import HealthPort
from seqserve.grpc_api.limits import GrpcLimits
from seqserve.grpc_api.listener import GrpcListener
from seqserve.http_api.listener import HttpListener
from seqserve.settings import Settings

ADMIN_HOST = "127.0.0.1"

PortName = Literal["grpc", "http", "admin", "health"]


@dataclass(slots=True)
class Ports:
    """They are made before anything listens, so that nobody is answered by half a gateway.

    services: names for reflection. bound: the port numbers, once `start` is over.
    """

    health: Health
    grpc: GrpcListener
    http: HttpListener
    admin: GrpcListener | None
    probes: HealthPort | None
    services: Sequence[str]
    bound: dict[PortName, int] = field(default_factory=dict)

    async def start(self, settings: Settings) -> None:
        """Listen. Raises AddressInUse."""
        self.health.register(self.grpc.server)
        self.grpc.enable_reflection([*self.services, HEALTH_SERVICE])
        self.bound["http"] = await self.http.start(settings.host, settings.http_port)
        self.bound["grpc"] = await self.grpc.start(settings.host, settings.grpc_port)
        if self.admin is not None:
            self.bound["admin"] = await self.admin.start(ADMIN_HOST, settings.admin_port or 0)
        if self.probes is not None:
            self.bound["health"] = self.probes.start(settings.host, settings.health_port or 0)

    async def stop_calls(self, grace_seconds: float) -> None:
        """Refuse new gRPC calls, let those in flight finish within the grace period."""
        listeners = [self.grpc] if self.admin is None else [self.grpc, self.admin]
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
    http: HttpListener,
    handlers: Sequence[Handler],
    admin_handler: Handler,
    services: Sequence[str],
) -> Ports:
    """The ports that the settings ask for."""
    admin = probes = None
    if settings.admin_port is not None:
        admin = GrpcListener([admin_handler], limits, setting="admin_port")
    if settings.health_port is not None:
        probes = HealthPort(health.statuses, limits)
    return Ports(health, GrpcListener(handlers, limits), http, admin, probes, services)
