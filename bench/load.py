"""A closed loop of callers in one process: each asks again as soon as it has its answer.

Answers are looked at before and after the time that counts, never in it. What the loop itself takes of
its core is part of the result: where it is near 1, the generator was measured and not the server.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
import grpc

Ask = Callable[[], Awaitable[bytes]]


class WrongAnswer(Exception):
    """A reply does not say what it should."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one kind of caller does.

    ask: one request, the reply's body. check: raises WrongAnswer. examples: in one request.
    """

    name: str
    examples: int
    callers: int
    ask: Ask
    check: Callable[[bytes], None]

    def __str__(self) -> str:
        return f"{self.name}, {self.callers} caller{'s' if self.callers > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """examples_per_second: answered. generator_cpu: this process's share of one core meanwhile."""

    examples_per_second: float
    generator_cpu: float


async def measure(load: Load, seconds: float) -> Measurement:
    """Run a load for at least so long, to the end of its last requests.

    One answer before it and each caller's last one are checked. Raises WrongAnswer, grpc.aio.AioRpcError,
    aiohttp.ClientError.
    """
    load.check(await load.ask())
    started, cpu_started = time.perf_counter(), time.process_time()
    callers = [_call(load.ask, started + seconds) for _ in range(load.callers)]
    outcomes = await asyncio.gather(*callers)
    elapsed, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    for _, last in outcomes:
        load.check(last)
    requests = sum(count for count, _ in outcomes)
    return Measurement(requests * load.examples / elapsed, cpu_seconds / elapsed)


async def _call(ask: Ask, until: float) -> tuple[int, bytes]:
    """How many answers one caller got, and the last of them."""
    count, reply = 1, await ask()
    while time.perf_counter() < until:
        reply = await ask()
        count += 1
    return count, reply


def grpc_asker(
    channel: grpc.aio.Channel, method: str, body: bytes, metadata: Mapping[str, str] | None = None
) -> Ask:
    """Unary calls of one serialized message. method: `/package.Service/Method`."""
    call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
    pairs = tuple((metadata or {}).items())

    async def ask() -> bytes:
        reply: bytes = await call(body, metadata=pairs)
        return reply

    return ask


def http_asker(session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str]) -> Ask:
    """POSTs of one body; a status other than 2xx raises aiohttp.ClientResponseError."""

    async def ask() -> bytes:
        async with session.post(url, data=body, headers=headers) as response:
            response.raise_for_status()
            return await response.read()

    return ask


@contextmanager
def on_core(*cores: int) -> Iterator[None]:
    """Keep this thread, and the threads and programs that it starts in the block, on one core, or on some.

    What was started stays there; the thread itself goes back. Raises OSError where there is no such core.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cores))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
