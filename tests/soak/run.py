"""One soak: a gateway, its callers, its reloads, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx

from seqserve.client import AsyncClient
from soak.callers import CALL_SECONDS, KINDS, Round, World, again_and_again
from soak.growth import Growth, found_out, growth
from soak.report import Report
from soak.sampler import Sampler
from soak.tally import Tally
from support.footprint import Footprint, gauges
from support.reloads import reload_without_end
from support.served import SEQSERVE, Served, started
from support.truth import put_version

LEAKING = Path(__file__).with_name("leaking.py")
GAUGES = ("seqserve_requests_in_flight", "seqserve_queued_examples")
SAMPLES = 240
MINUTE_SECONDS = 60.0
TIMES_ALLOWED = 4.0
"""How much more than what is allowed the control leaks."""
SERIES = ("memory_bytes", "descriptors", "threads", "tasks")


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
    progress(f"{options.title}: {options.minutes:g} minutes, with a line after each")
    with tempfile.TemporaryDirectory() as folder, _gateway(Path(folder), options) as gateway:
        sampler = Sampler(gateway.process.pid)
        async with _world(gateway) as world:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(options.minutes * MINUTE_SECONDS):
                    await _everything(options, sampler, Path(folder) / "store", world, progress)
            minutes = (time.monotonic() - sampler.began) / MINUTE_SECONDS
        left = await left_over(gateway.http)
        status = await asyncio.to_thread(gateway.end)
        if options.engine == "torchserve" and status == 0:
            progress("TorchServe has ended with it")
    growths, unmeasured = _growths(sampler.samples)
    return Report(options.title, minutes, world.tally, growths, status, left, unmeasured)


def _growths(samples: list[Footprint]) -> tuple[list[Growth], list[str]]:
    """Of each series, and why there is none."""
    try:
        return [growth(samples, name) for name in SERIES], []
    except ValueError as error:
        return [], [str(error)]


@contextlib.contextmanager
def _gateway(folder: Path, options: Options) -> Iterator[Served]:
    store = folder / "store"
    store.mkdir()
    put_version(store, "1")
    rates = json.dumps(found_out(options.minutes * MINUTE_SECONDS, TIMES_ALLOWED))
    program = [sys.executable, str(LEAKING), rates] if options.is_leaking else [str(SEQSERVE)]
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


async def _everything(
    options: Options, sampler: Sampler, store: Path, world: World, progress: Callable[[str], None]
) -> None:
    every_seconds = options.minutes * MINUTE_SECONDS / SAMPLES

    async def reload(_: World) -> None:
        await reload_without_end(store, options.reload_seconds / 2)

    async with asyncio.TaskGroup() as tasks:
        for one_round, pause_seconds in options.kinds.items():
            tasks.create_task(again_and_again(one_round.__name__, one_round, pause_seconds, world))
        tasks.create_task(again_and_again("sampler", sampler.sample, every_seconds, world))
        tasks.create_task(_tell(world, sampler, progress))
        if options.reload_seconds:
            tasks.create_task(again_and_again("reloader", reload, options.reload_seconds, world))


async def _tell(world: World, sampler: Sampler, progress: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(MINUTE_SECONDS)
        minutes = (time.monotonic() - sampler.began) / MINUTE_SECONDS
        tally = world.tally
        progress(
            f"{minutes:.0f} min: {tally.calls:,} calls, {tally.wrong} wrong, {tally.unexpected} unexpected, "
            + sampler.line()
        )


async def left_over(url: str) -> dict[str, float | None]:
    """What is still under way after the last caller has gone; a moment is allowed for it to end.

    None for what the gateway does not show, or for all where it does not answer.
    """
    values: dict[str, float | None] = dict.fromkeys(GAUGES)
    async with httpx.AsyncClient(base_url=url) as web:
        for _ in range(100):
            with contextlib.suppress(httpx.HTTPError):
                found = await gauges(web)
                values = {name: found.get(name) for name in GAUGES}
            if all(value == 0 for value in values.values()):
                break
            await asyncio.sleep(0.1)
    return values
