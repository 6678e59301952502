"""Asks a server for its health while it is under load."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench.serving import START_SECONDS, Server

EVERY_SECONDS = 0.25
PATIENCE_SECONDS = 5.0


@dataclass(slots=True)
class Probes:
    """How long each took; one that failed or said something else than SERVING took all the patience."""

    seconds: list[float] = field(default_factory=list)

    @property
    def worst(self) -> float:
        """The longest, 0 where there was none."""
        return max(self.seconds, default=0.0)


@contextmanager
def probes(address: str) -> Iterator[Probes]:
    """Ask four times a second, in a thread, for the length of a block."""
    taken, ended = Probes(), threading.Event()
    asking = threading.Thread(target=_ask, args=(address, taken, ended))
    asking.start()
    try:
        yield taken
    finally:
        ended.set()
        asking.join()


def wait_until_serving(server: Server) -> None:
    """Until its health says so, which it does once all of its models are loaded. Raises ServerFailed."""
    deadline = time.monotonic() + START_SECONDS
    with grpc.insecure_channel(server.health) as channel:
        while not _is_serving(health_pb2_grpc.HealthStub(channel)):
            if time.monotonic() > deadline:
                raise server.failed(f"not serving within {START_SECONDS} s")
            time.sleep(EVERY_SECONDS)


def _ask(address: str, taken: Probes, ended: threading.Event) -> None:
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while not ended.wait(EVERY_SECONDS):
            started = time.monotonic()
            serving = _is_serving(stub)
            taken.seconds.append(time.monotonic() - started if serving else PATIENCE_SECONDS)


def _is_serving(stub: health_pb2_grpc.HealthStub) -> bool:
    try:
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS)
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
