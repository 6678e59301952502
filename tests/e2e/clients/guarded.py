"""gRPC's health and reflection clients with TLS and tokens: `guarded.py ADDRESS HEALTH_ADDRESS CALLERS`.

HEALTH_ADDRESS: of the port for probes, plaintext. CALLERS: see support.guarded.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from support.features import tell

SECONDS = 10


def credentials(folder: Path, token: str | None, *, has_certificate: bool = True) -> grpc.ChannelCredentials:
    """As gRPC's users make them: a bearer token on every call of the channel."""
    own = [(folder / f"client.{part}").read_bytes() for part in ("key", "crt")] if has_certificate else ()
    tls = grpc.ssl_channel_credentials((folder / "ca.crt").read_bytes(), *own)
    if token is None:
        return tls
    bearer = grpc.access_token_call_credentials((folder / token).read_text())
    return grpc.composite_channel_credentials(tls, bearer)


def check(channel: grpc.Channel) -> Any:
    """The whole gateway's health."""
    reply = HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)


def services(channel: grpc.Channel) -> Any:
    """Names of all, by reflection."""
    return list(ProtoReflectionDescriptorDatabase(channel).get_services())


def said(channel: grpc.Channel, ask: Callable[[grpc.Channel], Any]) -> Any:
    """What a question gives, or the code of the refusal."""
    with channel:
        try:
            return ask(channel)
        except grpc.RpcError as refused:
            return refused.code().name


async def main(address: str, health_address: str, callers: str) -> None:
    """Ask as each caller."""
    folder = Path(callers)
    channels = {
        "token": lambda: grpc.secure_channel(address, credentials(folder, "token")),
        "token of another scope": lambda: grpc.secure_channel(address, credentials(folder, "token.metrics")),
        "wrong token": lambda: grpc.secure_channel(address, credentials(folder, "token.wrong")),
        "no token": lambda: grpc.secure_channel(address, credentials(folder, None)),
        "no certificate": lambda: grpc.secure_channel(
            address, credentials(folder, "token", has_certificate=False)
        ),
        "plaintext": lambda: grpc.insecure_channel(address),
        "health port": lambda: grpc.insecure_channel(health_address),
    }

    def ask(name: str, question: Callable[[grpc.Channel], Any]) -> Any:
        return said(channels[name](), question)

    features = {f"health, {name}": partial(ask, name, check) for name in channels}
    features |= {f"reflection, {name}": partial(ask, name, services) for name in channels}
    await tell(f"grpc_health and grpc_reflection {version('grpcio-reflection')}, TLS and tokens", features)


asyncio.run(main(*sys.argv[1:]))
