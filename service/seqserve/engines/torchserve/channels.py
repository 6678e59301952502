"""gRPC channels to TorchServes, one for each target, however many use it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

import grpc

from seqserve.engines.timing import Time

ROUND_ROBIN = '{"loadBalancingConfig": [{"round_robin": {}}]}'
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # the server's own limit bounds what comes
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # In spite of its name, how long one attempt to connect may take: Java on a busy machine takes its time.
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A machine that vanished closes no connection: where it has not taken what was sent within 5 s, it is
    # closed here. Asking it more often than every 5 minutes would end the calls in flight: TorchServe
    # leaves gRPC's limit for that as it is.
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    ("grpc.service_config", ROUND_ROBIN),
    ("grpc.enable_retries", 0),  # a batch is never run twice
]


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server is to be known.

    root_certificates: PEM; None are those that gRPC brings along.
    host: the name that its certificate must bear.
    """

    root_certificates: bytes | None
    host: str


class Channels:
    """Opens channels and closes them once nobody uses them.

    linger_seconds: how long calls may last that are in flight on a channel that is given back.
    authority: what servers without TLS are called, where it is not their target: proxies go by it.
    """

    def __init__(self, tls: Tls | None, linger_seconds: float, time: Time, authority: str = "") -> None:
        self._tls = tls
        self._authority = authority
        self._linger_seconds = linger_seconds
        self._time = time
        self._open: dict[str, grpc.aio.Channel] = {}
        self._users: Counter[str] = Counter()
        self._closing: dict[str, asyncio.Task[None]] = {}

    def take(self, target: str) -> grpc.aio.Channel:
        """The channel to a target in gRPC's syntax; `give_back` is to follow."""
        self._users[target] += 1
        if closing := self._closing.pop(target, None):
            closing.cancel()
        if target not in self._open:
            self._open[target] = _opened(target, self._tls, self._authority)
        return self._open[target]

    def give_back(self, target: str) -> None:
        """It is used once less; calls that are in flight end on it."""
        self._users[target] -= 1
        if not self._users[target] and target in self._open:
            self._closing[target] = asyncio.get_running_loop().create_task(self._close_later(target))

    async def aclose(self) -> None:
        """Cancel what is in flight and disconnect."""
        closing = list(self._closing.values())
        for task in closing:
            task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)
        while self._open:
            await self._open.popitem()[1].close(None)

    async def _close_later(self, target: str) -> None:
        await self._time.sleep(self._linger_seconds)
        del self._closing[target]  # from here on nobody can take it again
        await self._open.pop(target).close(None)


def _opened(target: str, tls: Tls | None, authority: str) -> grpc.aio.Channel:
    if tls is None:
        named = [("grpc.default_authority", authority)] if authority else []
        return grpc.aio.insecure_channel(target, options=[*CHANNEL_OPTIONS, *named])
    options = [*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", tls.host)]
    credentials = grpc.ssl_channel_credentials(tls.root_certificates)
    return grpc.aio.secure_channel(target, credentials, options=options)
