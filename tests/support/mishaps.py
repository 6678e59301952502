"""Gateways over a fake engine to which everything happens that the dashboard shows, as targets of Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from prometheus_client import CollectorRegistry, generate_latest

from seqserve.config_watch import ConfigWatch
from seqserve.engines.base import DeviceMemory
from seqserve.gateway import Gateway
from seqserve.metrics.counts import Metrics
from seqserve.metrics.gpu import GpuMetrics
from seqserve.repository.versions import ModelState
from seqserve.settings_reading import read_settings
from support.access import Tokens, bearer
from support.archives import make_archive
from support.certificates import Authority, replace
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.oip import infer_request, inference_stub
from support.running import until
from support.tls import Caller, ask_http

IMAGE = np.full((1, 2, 3), 0.25, np.float32)
WRONG = np.full((2, 6), 0.5, np.float32), np.full((2, 2), (0.9, 0.1), np.float32)
ROOM = 4
BATCH_SECONDS = 0.03
OVERDUE_SECONDS = 0.5
IMPATIENT_SECONDS = 0.5
PAUSE_SECONDS = 0.02
RECORDED = Path(__file__).parents[1] / "monitoring" / "torchserve.prom"
"""What a TorchServe 0.12 wrote, in front of which a gateway had answered a few calls."""


@dataclass
class Target:
    """One gateway that Prometheus scrapes, and what its callers saw."""

    gateway: Gateway
    engine: FakeEngine
    channel: grpc.aio.Channel
    codes: Counter[str] = field(default_factory=Counter)
    answered: list[tuple[float, float]] = field(default_factory=list)

    @property
    def instance(self) -> str:
        """As Prometheus names it."""
        return f"127.0.0.1:{self.gateway.http_port}"

    async def ask(self, rows: Any = IMAGE, *, seconds: float = 30.0, **fields: Any) -> str:
        """The code of one call; when it was over, and how long it took, are noted of answers."""
        began = time.monotonic()
        code = "OK"
        try:
            await inference_stub(self.channel).ModelInfer(infer_request(rows, **fields), timeout=seconds)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
        else:
            self.answered.append((time.time(), time.monotonic() - began))
        self.codes[code] += 1
        return code

    @asynccontextmanager
    async def load(self, callers: int = 2) -> AsyncIterator[None]:
        """Calls one after the other, for the length of the block; all that began are answered."""
        is_over = asyncio.Event()

        async def call() -> None:
            while not is_over.is_set():
                await self.ask()
                await asyncio.sleep(PAUSE_SECONDS)

        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(call())
            yield
            is_over.set()

    async def suffer(self) -> None:
        """Callers' mistakes, a fault of the engine, a full queue, callers who leave, a batch that hangs."""
        await self.ask(np.zeros((1, 5)))
        await self.ask(model="nobody")
        self.engine.fault = RuntimeError("the engine's fault")
        await self.ask()
        self.engine.fault = None
        await self.crowd()
        await self.hang()

    async def crowd(self) -> None:
        """A full queue, which somebody leaves, and somebody else waits too long in."""
        self.engine.hold()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.ask())
            await self.engine.entered.wait()
            leaving = group.create_task(self.ask())
            group.create_task(self.ask(np.repeat(IMAGE, ROOM - 1, axis=0)))
            await until(lambda: self.batcher.queued_examples == ROOM)
            await self.ask()
            leaving.cancel()
            await until(lambda: self.batcher.queued_examples == ROOM - 1)
            await self.ask(seconds=IMPATIENT_SECONDS)
            await until(lambda: self.batcher.queued_examples == ROOM - 1)
            self.engine.gate.set()

    async def hang(self) -> None:
        """A batch that takes too long, and in the end comes back."""
        self.engine.hold()
        await self.ask(model="hangs")
        self.engine.gate.set()
        await until(lambda: self.gateway.repository.versions_of("hangs")[0].state is ModelState.READY)

    @property
    def batcher(self) -> Any:
        """Of the one version that is ready."""
        return self.gateway.repository.resolve("tiny", "").batcher


@asynccontextmanager
async def plain_target(folder: Path, front: str) -> AsyncIterator[Target]:
    """`tiny` 1 with the label stable, and 2, which is refused for its golden rows; `hangs`, which may not."""
    archives = [
        make_archive(folder),
        make_archive(folder, version="2", golden=WRONG),
        make_archive(folder, "hangs"),
    ]
    engine = FakeEngine(seconds=BATCH_SECONDS)
    limits = {"max_queue_size": ROOM, "max_request_examples": ROOM}
    models = {"tiny": {"labels": {"stable": 1}}, "hangs": {"max_batch_seconds": OVERDUE_SECONDS}}
    starting = running_gateway(archives, engine, front=front, models=models, **limits)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(starting)
        address = f"127.0.0.1:{gateway.grpc_port}"
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        yield Target(gateway, engine, channel)


async def change_configuration(target: Target, folder: Path) -> None:
    """One change that is loaded, one that is refused."""
    path = folder / "seqserve.toml"
    path.write_text('log_level = "info"\n')

    def read() -> Any:
        return read_settings({}, path)

    watch = ConfigWatch(path, read(), read, target.gateway.apply, target.gateway.metrics.count_config_reload)
    for text in ("[models.tiny]\nlabels = { stable = 1 }\n", "log_level = 5\n"):
        path.write_text(text)
        while await watch.look():
            pass


@dataclass
class GuardedTarget:
    """A gateway with TLS and tokens, and what a job needs to scrape it."""

    target: Target
    folder: Path
    tokens: Tokens
    authority: Authority

    @property
    def job(self) -> dict[str, Any]:
        """As in `scrape_configs`; docs/monitoring.md shows the same."""
        return {
            "job_name": "seqserve-guarded",
            "scheme": "https",
            "authorization": {"type": "Bearer", "credentials_file": str(self.folder / "seqserve.token")},
            "tls_config": {"ca_file": str(self.folder / "ca.crt"), "server_name": "localhost"},
            "static_configs": [{"targets": [self.target.instance]}],
        }

    async def ask(self, token: str) -> None:
        """One call with a token; who is turned away is turned away."""
        call = inference_stub(self.target.channel).ModelInfer
        with contextlib.suppress(grpc.aio.AioRpcError):
            await call(infer_request(IMAGE), metadata=bearer(token))

    async def change_certificates(self) -> None:
        """One change that is loaded, one that is refused."""
        caller = Caller(self.authority.pem)
        self.authority.issue().write(self.folder)
        await ask_http(self.target.gateway, caller)
        replace(self.folder / "tls.crt", b"no certificate")
        await ask_http(self.target.gateway, caller)


@asynccontextmanager
async def guarded_target(folder: Path) -> AsyncIterator[GuardedTarget]:
    """`tiny` 1 for callers with tokens, over TLS."""
    tokens, authority, engine = Tokens(), Authority.made(), FakeEngine()
    key, certificate = authority.issue().write(folder)
    authority.write(folder)
    replace(folder / "seqserve.token", tokens.of_scope["metrics"].encode())
    settings = {
        "tls_key": key,
        "tls_certificate": certificate,
        "clients": tokens.clients(),
        "front": "python",
    }
    async with running_gateway([make_archive(folder)], engine, **settings) as gateway:
        credentials = grpc.ssl_channel_credentials(authority.pem)
        async with grpc.aio.secure_channel(f"127.0.0.1:{gateway.grpc_port}", credentials) as channel:
            yield GuardedTarget(Target(gateway, engine, channel), folder, tokens, authority)


@dataclass
class Gpu:
    """A GPU that is half full and computes half of the time."""

    device: str = "cuda:0"

    def memory(self) -> DeviceMemory:
        return DeviceMemory(2**32, 2**33)

    def utilisation(self) -> float:
        return 0.5


@contextmanager
def played_page() -> Iterator[str]:
    """HOST:PORT of a page that our metrics code writes for a GPU and a TorchServe that are not here."""
    registry = CollectorRegistry()
    registry.register(GpuMetrics(Gpu()))
    metrics = Metrics(registry)
    metrics.note_restart()
    metrics.note_drift("missing")

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.end_headers()
            self.wfile.write(generate_latest(registry) + RECORDED.read_bytes())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@dataclass
class Scene:
    """All targets. plain: by front."""

    plain: dict[str, Target]
    guarded: GuardedTarget
    played: str

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """As in `scrape_configs`."""
        targets = [*(target.instance for target in self.plain.values()), self.played]
        return [{"job_name": "seqserve", "static_configs": [{"targets": targets}]}, self.guarded.job]

    async def suffer(self) -> None:
        """All that happens, once."""
        async with asyncio.TaskGroup() as group:
            for target in self.plain.values():
                group.create_task(target.suffer())
        for token in (*self.guarded.tokens.of_scope.values(), self.guarded.tokens.wrong):
            await self.guarded.ask(token)


@asynccontextmanager
async def staged(folders: dict[str, Path]) -> AsyncIterator[Scene]:
    """All targets; one has changed its configuration, one its certificates.

    folders: of the fronts, python among them, and `guarded`; they exist.
    """
    async with AsyncExitStack() as stack:
        plain = {
            front: await stack.enter_async_context(plain_target(folder, front))
            for front, folder in folders.items()
            if front != "guarded"
        }
        guarded = await stack.enter_async_context(guarded_target(folders["guarded"]))
        await change_configuration(plain["python"], folders["python"])
        await guarded.change_certificates()
        yield Scene(plain, guarded, stack.enter_context(played_page()))
