"""One soak: a gateway, its callers, its reloads, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx

from seqserve.client import AsyncClient
from soak.callers import CALL_SECONDS, KINDS, Round, World
from soak.footprint import Footprint, gauges, sample_without_end
from soak.growth import growth
from soak.reloads import reload_without_end
from soak.report import Report
from soak.tally import Tally
from soak.truth import put_version
from support.served import SEQSERVE, Served, started

LEAKING = Path(__file__).with_name("leaking.py")
GAUGES = ("seqserve_requests_in_flight", "seqserve_queued_examples")
SAMPLES = 240
MINUTE_SECONDS = 60.0


@dataclass(frozen=True)
class Options:
    """What is soaked, and how.

    reload_seconds: 0 for none. is_leaking: the control. callers: the kinds that call, all where none is named.
    pace: how much faster they come back.
    """

    minutes: float
    front: str = "python"
    engine: str = "embedded"
    reload_seconds: float = 20.0
    is_leaking: bool = False
    callers: tuple[str, ...] = ()
    pace: float = 1.0

    @property
    def kinds(self) -> dict[Round, float]:
        """Who calls, and how long each rests between two rounds, in seconds."""
        named = self.callers or tuple(kind.__name__ for kind in KINDS)
        return {kind: pause / self.pace for kind, pause in KINDS.items() if kind.__name__ in named}

    @property
    def title(self) -> str:
        """In words."""
        return f"{self.front} front, {self.engine} engine" + (
            ", leaking on purpose" if self.is_leaking else ""
        )


async def soak(options: Options, progress: Callable[[str], None]) -> Report:
    """Run it to its end. progress: is told how it goes, once a minute."""
    samples: list[Footprint] = []
    with tempfile.TemporaryDirectory() as folder, _gateway(Path(folder), options) as gateway:
        async with _world(gateway) as world:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(options.minutes * MINUTE_SECONDS):
                    await _everything(options, gateway, Path(folder) / "store", world, samples, progress)
        left = await _left(gateway)
        status = await asyncio.to_thread(gateway.end)
        if options.engine == "torchserve" and status == 0:
            progress("TorchServe has ended with it")
    growths = [growth(samples, name) for name in ("memory_bytes", "descriptors", "threads", "tasks")]
    return Report(options.title, options.minutes, world.tally, growths, status, left)


@contextlib.contextmanager
def _gateway(folder: Path, options: Options) -> Iterator[Served]:
    store = folder / "store"
    store.mkdir()
    put_version(store, "1")
    program = [sys.executable, str(LEAKING)] if options.is_leaking else [str(SEQSERVE)]
    chosen = (f"--front={options.front}", f"--engine={options.engine}")
    with started(folder, store, *chosen, program=program) as gateway:
        gateway.wait_for("serving")
        yield gateway


@contextlib.asynccontextmanager
async def _world(gateway: Served) -> AsyncIterator[World]:
    async with (
        grpc.aio.insecure_channel(gateway.grpc) as channel,
        AsyncClient(gateway.grpc) as client,
        httpx.AsyncClient(base_url=gateway.http, timeout=CALL_SECONDS) as web,
    ):
        yield World(gateway.grpc, channel, client, web, Tally())


async def _everything(  # noqa: PLR0917 - all that runs at once
    options: Options,
    gateway: Served,
    store: Path,
    world: World,
    samples: list[Footprint],
    progress: Callable[[str], None],
) -> None:
    every_seconds = options.minutes * MINUTE_SECONDS / SAMPLES
    async with asyncio.TaskGroup() as tasks:
        for one_round, pause_seconds in options.kinds.items():
            tasks.create_task(_again_and_again(one_round, pause_seconds, world))
        tasks.create_task(sample_without_end(gateway.process.pid, world.web, every_seconds, samples))
        tasks.create_task(_tell(world, samples, progress))
        if options.reload_seconds:
            tasks.create_task(reload_without_end(store, options.reload_seconds / 2))


async def _again_and_again(one_round: Round, pause_seconds: float, world: World) -> None:
    while True:
        await one_round(world)
        await asyncio.sleep(pause_seconds)


async def _tell(world: World, samples: list[Footprint], progress: Callable[[str], None]) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(MINUTE_SECONDS)
        now = samples[-1]
        progress(
            f"{(time.monotonic() - began) / MINUTE_SECONDS:.0f} min: {world.tally.calls:,} calls, "
            f"{world.tally.wrong} wrong, {world.tally.unexpected} unexpected, {now.memory_bytes >> 20} MiB, "
            f"{now.descriptors} descriptors, {now.threads} threads, {now.tasks} tasks"
        )


async def _left(gateway: Served) -> dict[str, float]:
    """What is still under way after the last caller has gone; a moment is allowed for it to end."""
    values: dict[str, float] = {}
    async with httpx.AsyncClient(base_url=gateway.http) as web:
        for _ in range(100):
            found = await gauges(web)
            values = {name: found[name] for name in GAUGES if name in found}
            if not any(values.values()):
                break
            await asyncio.sleep(0.1)
    return values
