"""Runs batches of every size through the embedded engine, as the gateway does, and takes their times."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Protocol

import numpy as np

from seqserve.archive import Archive
from seqserve.cores import available_cores
from seqserve.engine_setup import EngineHooks, Unheard, running_engine
from seqserve.engines.base import Engine, EngineObserver, FloatArray, LoadedModel
from seqserve.errors import ArchiveInvalid
from seqserve.golden import check_golden
from seqserve.heap import freeze_collector, keep_heap
from seqserve.settings import Settings
from seqserve.tuning.curves import Curve, Point, doublings, point_of
from seqserve.tuning.proposal import Machine

WARM_UP_ROUNDS = 5
LAPS = 5
"""Over all batch sizes: what else the machine does for a while then falls on all of them alike."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    rounds: forwards of each point, but no more than take `point_seconds`, in as many parts as there are laps.
    largest_seconds: larger batches are left out behind one that alone takes as long.
    """

    rounds: int
    largest_seconds: float
    point_seconds: float = 10.0

    @property
    def a_lap(self) -> Effort:
        """Of one lap."""
        rounds = math.ceil(self.rounds / LAPS)
        return replace(self, rounds=rounds, point_seconds=self.point_seconds / LAPS)


class Progress(Protocol):
    """Hears how far it is."""

    def begin(self, model: str, batch_size: int, threads: int, lap: int) -> None:
        """A step, which is a point's part of a lap, from 0 on, is measured from now on."""
        ...

    def skip(self, steps: int) -> None:
        """So many steps will not be measured."""
        ...

    def end(self) -> None:
        """The step that was begun has its times."""
        ...


@dataclass(frozen=True, slots=True)
class Measured:
    """device: `cpu` or `cuda:N`. curves: one for each archive, in their order."""

    device: str
    machine: Machine
    curves: tuple[Curve, ...]


def steps_on(threads: Sequence[int], archives: Sequence[Archive]) -> int:
    """How many steps `measure` begins or skips on these numbers of threads."""
    sizes = sum(len(doublings(archive.signature.max_batch_size)) for archive in archives)
    return LAPS * sizes * len(threads)


async def measure(
    settings: Settings, archives: Sequence[Archive], effort: Effort, progress: Progress
) -> Measured:
    """The curves of archives on 1, 2, 4 … threads, up to the cores; on a GPU threads do not matter.

    Each archive is loaded and must answer its golden rows, as for `serve`.
    Raises DependencyMissing, SettingsInvalid, ArchiveInvalid, Overloaded, EngineUnavailable.
    """
    keep_heap()
    points: dict[str, list[Point]] = {archive.name: [] for archive in archives}
    device, cores = "", available_cores()
    for threads in doublings(cores):
        if device.startswith("cuda"):
            progress.skip(steps_on([threads], archives))
            continue
        async with running_engine(_on(settings, threads), [], _hooks()) as engine:
            device = engine.device
            for archive in archives:
                timed = _Timed(engine, archive, threads, effort, progress)
                points[archive.name] += await timed.points()
    curves = tuple(Curve(one.name, one.version, tuple(points[one.name])) for one in archives)
    return Measured(device, Machine(cores, is_gpu=device.startswith("cuda")), curves)


@dataclass(frozen=True, slots=True)
class _Timed:
    """One archive on one number of threads."""

    engine: Engine
    archive: Archive
    threads: int
    effort: Effort
    progress: Progress

    async def points(self) -> list[Point]:
        """The points from the smallest batch on, as far as they are worth it."""
        model = await self._load()
        freeze_collector()
        seconds = await self._first_lap(model)
        for lap in range(1, LAPS):
            for size in seconds:
                seconds[size] += await self._some(model, size, lap)
        await model.unload()
        return [point_of(size, self.threads, taken) for size, taken in seconds.items()]

    async def _load(self) -> LoadedModel:
        try:
            model = await self.engine.load(self.archive)
            await check_golden(self.archive, model, self.engine.device)
        except ArchiveInvalid as error:
            raise ArchiveInvalid(f"{self.archive.name} {self.archive.version}: {error}") from error
        return model

    async def _first_lap(self, model: LoadedModel) -> dict[int, list[float]]:
        """By batch size, up to the first that is slow for good."""
        seconds: dict[int, list[float]] = {}
        sizes = doublings(self.archive.signature.max_batch_size)
        for size in sizes:
            seconds[size] = await self._some(model, size, 0)
            if median(seconds[size]) > self.effort.largest_seconds:
                break
        self.progress.skip(LAPS * (len(sizes) - len(seconds)))
        return seconds

    async def _some(self, model: LoadedModel, size: int, lap: int) -> list[float]:
        self.progress.begin(self.archive.name, size, self.threads, lap)
        batch = rows_of(self.archive.golden_inputs, size)
        seconds = await _rounds(lambda: model.infer(batch), self.effort.a_lap)
        self.progress.end()
        return seconds


def rows_of(golden: FloatArray, size: int) -> FloatArray:
    """A batch of that many examples: the golden rows [k, *example], over and over → [size, *example]."""
    return golden[np.arange(size) % len(golden)]


async def _rounds(forward: Callable[[], Awaitable[object]], effort: Effort) -> list[float]:
    """The seconds of each round; those of the warm-up are not among them."""
    for _ in range(WARM_UP_ROUNDS):
        await forward()
    seconds = list[float]()
    last = time.perf_counter() + effort.point_seconds
    while len(seconds) < effort.rounds and (not seconds or time.perf_counter() < last):
        begun = time.perf_counter()
        await forward()
        seconds.append(time.perf_counter() - begun)
    return seconds


def _on(settings: Settings, threads: int) -> Settings:
    own = {"intra_op_threads": threads, "compute_slots": 1, "with_torchserve": False}
    return settings.model_copy(update=own)


def _hooks() -> EngineHooks:
    """Whoever measures is told by the call that fails."""
    return EngineHooks(
        presence=Unheard(),
        observer=EngineObserver(),
        relay_metrics=lambda _: None,
        on_gone=lambda: None,
        on_broken_gpu=lambda: None,
        on_out_of_memory=lambda: None,
        watch_gpu=lambda _: None,
    )
