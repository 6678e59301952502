"""Callers of a gateway that speaks TLS, over gRPC and over HTTP."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import httpx
from cryptography import x509

from seqserve.gateway import Gateway
from seqserve.pb import inference_pb2 as pb
from seqserve.ports import PortName
from support.oip import inference_stub

HOST = "127.0.0.1"
SECONDS = 10.0  # for what takes milliseconds: a test must not hang
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


class TurnedAway(Exception):
    """One side did not accept the other, or the connection was closed."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who asks once, over a new connection.

    ca: PEM of who may sign the gateway's certificate. files: of its own key and certificate, if any.
    """

    ca: bytes
    files: tuple[Path, Path] | None = None

    @property
    def credentials(self) -> grpc.ChannelCredentials:
        """For gRPC."""
        if self.files is None:
            return grpc.ssl_channel_credentials(self.ca)
        key, certificate = self.files
        return grpc.ssl_channel_credentials(self.ca, key.read_bytes(), certificate.read_bytes())

    @property
    def context(self) -> ssl.SSLContext:
        """For HTTP, and for bare sockets."""
        context = ssl.create_default_context(cadata=self.ca.decode())
        if self.files is not None:
            key, certificate = self.files
            context.load_cert_chain(certificate, key)
        return context


Ask = Callable[[Gateway, Caller], Awaitable[None]]


async def ask_grpc(gateway: Gateway, caller: Caller, port: PortName = "grpc") -> None:
    """Whether the gateway lives; raises TurnedAway."""
    address = f"{HOST}:{gateway.ports[port]}"
    async with grpc.aio.secure_channel(address, caller.credentials, OWN_CONNECTION) as channel:
        await ask_on(channel)


async def ask_on(channel: grpc.aio.Channel) -> None:
    """The same over a connection that is kept."""
    try:
        reply = await inference_stub(channel).ServerLive(pb.ServerLiveRequest(), timeout=SECONDS)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        raise TurnedAway(error.details()) from error
    assert reply.live


async def ask_http(gateway: Gateway, caller: Caller) -> None:
    """Whether the gateway lives; raises TurnedAway."""
    async with httpx.AsyncClient(verify=caller.context, timeout=SECONDS) as client:
        try:
            reply = await client.get(f"https://{HOST}:{gateway.http_port}/v2/health/live")
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise TurnedAway(str(error)) from error
    assert reply.status_code == httpx.codes.OK


ASKS: dict[str, Ask] = {"grpc": ask_grpc, "http": ask_http, "admin": partial(ask_grpc, port="admin")}
"""One for each port that speaks TLS."""


async def certificate_at(port: int, context: ssl.SSLContext) -> x509.Certificate:
    """What the gateway shows there. Raises OSError where there is no handshake."""
    _, writer = await asyncio.open_connection(HOST, port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return x509.load_der_x509_certificate(shown)
