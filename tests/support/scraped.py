"""A gateway that Prometheus scrapes, over a fake engine that can be made to fail, and its callers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from seqserve.config_watch import ConfigWatch
from seqserve.gateway import Gateway
from seqserve.repository.versions import ModelState
from seqserve.settings_reading import read_settings
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.oip import infer_request, inference_stub
from support.running import until

IMAGE = np.full((1, 2, 3), 0.25, np.float32)
WRONG = np.full((2, 6), 0.5, np.float32), np.full((2, 2), (0.9, 0.1), np.float32)
ROOM = 4
BATCH_SECONDS = 0.03
OVERDUE_SECONDS = 0.5
IMPATIENT_SECONDS = 0.5
PAUSE_SECONDS = 0.02


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
