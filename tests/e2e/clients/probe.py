"""A health probe as kubelet's: `probe.py ADDRESS SERVICE...`. Plaintext, no token."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from importlib.metadata import version
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from support.features import tell

PROBE_SECONDS = 10
KUBELET = ("grpc.primary_user_agent", "kube-probe/1.31")


def check(address: str, service: str) -> Any:
    """A connection of its own for each probe, as kubelet does."""
    request = health_pb2.HealthCheckRequest(service=service)
    with grpc.insecure_channel(address, options=[KUBELET]) as channel:
        try:
            reply = HealthStub(channel).Check(request, timeout=PROBE_SECONDS)
        except grpc.RpcError as refused:
            return refused.code().name
    return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)


def watch(address: str) -> Any:
    """The first that a watcher hears."""
    with grpc.insecure_channel(address) as channel:
        stream = HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=PROBE_SECONDS)
        first = next(stream)
        stream.cancel()
    return health_pb2.HealthCheckResponse.ServingStatus.Name(first.status)


async def main(address: str, *services: str) -> None:
    """Check each service, then watch the whole."""
    features = {service: partial(check, address, service) for service in services}
    await tell(
        f"grpc_health {version('grpcio-health-checking')}", features | {"watch": partial(watch, address)}
    )


asyncio.run(main(*sys.argv[1:]))
