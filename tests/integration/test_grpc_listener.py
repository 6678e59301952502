"""grpc.aio's server that ends by itself: its calls are waited for, and another one comes, whatever stands against it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc.aio._server import Server
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from structlog.testing import capture_logs

from seqserve.grpc_api import binding, listener
from seqserve.grpc_api.boundary import Handler
from seqserve.grpc_api.limits import GrpcLimits
from seqserve.grpc_api.listener import GrpcListener
from support import http2
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.http2 import END_HEADERS, END_STREAM, call_headers, connected, frame, header_block
from support.running import LIMIT_SECONDS, until

HOST = "127.0.0.1"
LIMITS = GrpcLimits(2**20, 64, 64, 3600.0, 1.0, 60.0, 3600.0)
NO_TEXT = header_block([(n, b"/\xff\xfe" if n == b":path" else v) for n, v in call_headers("/")])
ENDED = "gRPC server ended by itself, another one begins"
NOBODY = "nobody listens for gRPC yet"


@dataclass
class Held:
    """Answers `/held/Call` once it is let go. running: calls that wait."""

    running: int = 0
    is_free: asyncio.Event = field(default_factory=asyncio.Event)

    def handler(self) -> Handler:
        method = grpc.unary_unary_rpc_method_handler(self._answer)
        return grpc.method_handlers_generic_handler("held", {"Call": method})

    async def _answer(self, request: bytes, _: Any) -> bytes:
        self.running += 1
        await self.is_free.wait()
        self.running -= 1
        return request


@dataclass
class Listening:
    """A listener that listens. heard: why nobody did, and "" once somebody did again."""

    listener: GrpcListener
    held: Held
    port: int
    heard: list[str]

    async def ask(self) -> bytes:
        """Over a connection of its own, for which it waits."""
        own = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 100)]
        async with (
            asyncio.timeout(LIMIT_SECONDS),
            grpc.aio.insecure_channel(f"{HOST}:{self.port}", own) as channel,
        ):
            return bytes(await channel.unary_unary("/held/Call", bytes, bytes)(b"hello", wait_for_ready=True))


@asynccontextmanager
async def listening() -> AsyncIterator[Listening]:
    held, heard = Held(), list[str]()
    one = GrpcListener([held.handler()], LIMITS, on_unheard=heard.append)
    yield Listening(one, held, await one.start(HOST, 0), heard)
    await one.stop(0)


def told(logs: list[Any], event: str) -> list[str]:
    """The reasons that the log gives."""
    return [line["reason"] for line in logs if line["event"] == event]


def failing(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, errors: list[Exception]) -> None:
    """Raise these one after the other where it is called, and then do what it does."""
    done: Callable[..., Any] = getattr(owner, name)

    def do(*arguments: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop(0)
        return done(*arguments, **options)

    monkeypatch.setattr(owner, name, do)


async def test_a_drain_waits_for_the_calls_of_a_server_that_ended_by_itself() -> None:
    async with listening() as gateway:
        calls = [asyncio.create_task(gateway.ask()) for _ in range(3)]
        await until(lambda: gateway.held.running == 3)
        with capture_logs() as logs:
            await end_server(gateway.port)
            await until(lambda: bool(told(logs, ENDED)))
        stopping = asyncio.create_task(gateway.listener.stop(600))
        await asyncio.wait([stopping], timeout=0.5)
        assert (stopping.done(), gateway.held.running) == (False, 3)
        gateway.held.is_free.set()
        assert await asyncio.gather(*calls) == [b"hello"] * 3
        await stopping


async def test_the_calls_of_a_server_that_ended_by_itself_are_ended_after_the_grace_period() -> None:
    async with listening() as gateway:
        call = asyncio.create_task(gateway.ask())
        await until(lambda: gateway.held.running == 1)
        with capture_logs() as logs:
            await end_server(gateway.port)
            await until(lambda: bool(told(logs, ENDED)))
        await gateway.listener.stop(0.1)
        await until(call.done)
        with pytest.raises(grpc.aio.AioRpcError):
            await call


async def test_a_fault_of_the_watch_is_not_the_end_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Exception] = [MemoryError(), MemoryError(), RuntimeError("another")]
    monkeypatch.setattr(listener, "RETRY_SECONDS", 0.0)
    async with listening() as gateway:
        call = asyncio.create_task(gateway.ask())
        await until(lambda: gateway.held.running == 1)
        with capture_logs() as logs:
            failing(monkeypatch, Server, "wait_for_termination", errors)
            await until(lambda: not errors)
            await asyncio.sleep(2 * listener.WATCH_SECONDS)
            gateway.held.is_free.set()
            assert await call == b"hello"
            assert (told(logs, ENDED), told(logs, NOBODY), gateway.heard) == ([], [], [])
            await end_server(gateway.port)
            assert await gateway.ask() == b"hello"
            assert len(told(logs, ENDED)) == 1


@pytest.mark.parametrize(
    ("owner", "name"),
    [(grpc.aio, "server"), (listener, "listen"), (Server, "start"), (binding, "try_to_bind")],
    ids=["made", "bound", "started", "tried"],
)
async def test_whatever_keeps_another_server_away_is_told_and_it_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    errors: list[Exception] = [MemoryError(), RuntimeError("out of order"), RuntimeError("out of order")]
    monkeypatch.setattr(listener, "RETRY_SECONDS", 0.0)
    async with listening() as gateway:
        gateway.held.is_free.set()
        failing(monkeypatch, owner, name, errors)
        with capture_logs() as logs:
            await end_server(gateway.port)
            assert await gateway.ask() == b"hello"
        assert not errors
        await until(lambda: gateway.heard[-1:] == [""])
        assert len(told(logs, ENDED)) == 1
        assert len(told(logs, NOBODY)) == 2
        assert gateway.heard == [*told(logs, NOBODY), ""]


async def test_what_keeps_it_from_listening_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Exception] = [OSError(errno.EMFILE, "Too many open files")] * 2
    async with listening() as gateway:
        gateway.held.is_free.set()
        failing(monkeypatch, binding, "try_to_bind", errors)
        with capture_logs() as logs:
            await end_server(gateway.port)
            assert await gateway.ask() == b"hello"
        reason = f"grpc_port: cannot listen on {HOST}:{gateway.port}: Too many open files"
        assert told(logs, NOBODY) == [reason]


async def test_a_listener_that_cannot_tell_goes_on_and_tells_later(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Exception] = [MemoryError()] * 2
    monkeypatch.setattr(listener, "RETRY_SECONDS", 0.0)
    async with listening() as gateway:
        gateway.held.is_free.set()
        failing(monkeypatch, listener, "listen", [MemoryError()] * 3)
        failing(monkeypatch, listener.log, "error", errors)
        await end_server(gateway.port)
        assert await gateway.ask() == b"hello"
        await until(lambda: gateway.heard[-1:] == [""])


async def test_while_nobody_listens_for_grpc_the_gateway_is_not_ready(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = health_pb2.HealthCheckRequest()
    async with (
        running_gateway([make_archive(tmp_path)], engine, health_port=0) as gateway,
        grpc.aio.insecure_channel(f"{HOST}:{gateway.ports['health']}") as channel,
        httpx.AsyncClient(base_url=f"http://{HOST}:{gateway.http_port}") as http,
    ):
        watch = HealthStub(channel).Watch(asked)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        with monkeypatch.context() as patch:
            patch.setattr(binding, "try_to_bind", taken)
            await end_server(gateway.grpc_port)
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            refused = await http.get("/readyz")
            assert (await http.get("/v2/health/ready")).status_code == 503
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        ready = await http.get("/readyz")
        watch.cancel()

    assert (refused.status_code, ready.status_code) == (503, 200)
    assert refused.json()["reason"].startswith("nobody listens for gRPC: grpc_port: cannot listen on")
    assert "reason" not in ready.json()


def taken(*_: object) -> None:
    raise OSError(errno.EADDRINUSE, "Address already in use")


async def end_server(port: int) -> None:
    """With a path that is no UTF-8."""
    async with connected(port) as peer:
        await peer.send(frame(http2.HEADERS, NO_TEXT, stream=1, flags=END_HEADERS | END_STREAM))
        await peer.until_over(1)
