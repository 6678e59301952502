"""From settings to an engine that runs, and with it a TorchServe where one is wished for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from seqserve.batching.batcher import BatchLimits
from seqserve.cores import available_cores
from seqserve.engines.base import DeviceUse, Engine, EngineObserver, Presence
from seqserve.engines.mirrored import MirroredEngine
from seqserve.errors import DependencyMissing
from seqserve.native_front import graphs
from seqserve.native_front.choice import choose_front
from seqserve.settings import Settings
from seqserve.signature import Signature

if TYPE_CHECKING:
    from seqserve.engines.embedded import EmbeddedEngine

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EngineHooks:
    """Whom to tell what becomes of the engine.

    presence: hears which versions a TorchServe cannot run for a while. observer: what it goes through.
    relay_metrics: called once with what reads TorchServe's own metrics, where it is managed.
    on_gone: called when a TorchServe of our own has ended, and is not to be started again.
    on_broken_gpu: called in the event loop when the GPU answers this process no more; perhaps often.
    on_out_of_memory: called in any thread when a device had no memory for a batch.
    watch_gpu: called once with the GPU, where there is one.
    """

    presence: Presence
    observer: EngineObserver
    relay_metrics: Callable[[Callable[[], Awaitable[bytes]]], None]
    on_gone: Callable[[], None]
    on_broken_gpu: Callable[[], None]
    on_out_of_memory: Callable[[], None]
    watch_gpu: Callable[[DeviceUse], None]


def compute_slots(settings: Settings, device: str) -> int:
    """How many batches may be computed at once: as set, else 1 for a GPU, else cores over threads."""
    if settings.compute_slots:
        return settings.compute_slots
    if device.startswith("cuda"):
        return 1
    return max(1, available_cores() // settings.intra_op_threads)


def batch_limits(settings: Settings, signature: Signature) -> BatchLimits:
    """How much of a model's work is taken at once, and how much may wait."""
    own = settings.of_model(signature.name)
    delay_seconds = own.max_queue_delay_seconds
    if delay_seconds is None:  # 0 is one too
        delay_seconds = settings.max_queue_delay_seconds
    return BatchLimits(
        max_batch_size=min(own.max_batch_size or signature.max_batch_size, signature.max_batch_size),
        max_queue_size=own.max_queue_size or settings.max_queue_size,
        max_queue_delay_seconds=delay_seconds,
        max_batch_seconds=own.max_batch_seconds or settings.max_batch_seconds,
    )


@asynccontextmanager
async def running_engine(
    settings: Settings, archives: Sequence[Path], hooks: EngineHooks
) -> AsyncIterator[Engine]:
    """The engine for the length of the block.

    archives: what will be loaded; message limits fit them.
    Raises DependencyMissing, SettingsInvalid, AddressInUse or StartFault.
    """
    async with AsyncExitStack() as stack:
        if settings.engine == "torchserve":
            engine: Engine = await _torchserve(settings, archives, hooks, stack)
        else:
            engine = await _embedded(settings, hooks)
            stack.push_async_callback(engine.aclose)
            if settings.with_torchserve:
                # Callers of the gateway are answered without it, so its absences are its own.
                mirror = await _torchserve(settings, archives, replace(hooks, presence=Unheard()), stack)
                engine = MirroredEngine(engine, mirror)
        yield engine


async def _embedded(settings: Settings, hooks: EngineHooks) -> Engine:
    loop = asyncio.get_running_loop()
    on_broken = partial(loop.call_soon_threadsafe, hooks.on_broken_gpu)
    # Importing torch takes seconds.
    engine = await asyncio.to_thread(_build_embedded, settings, hooks.on_out_of_memory, on_broken)
    if engine.device != "cpu":
        hooks.watch_gpu(engine)
    return engine


def _build_embedded(
    settings: Settings, on_out_of_memory: Callable[[], None], on_broken: Callable[[], object]
) -> EmbeddedEngine:
    try:
        from seqserve.engines.embedded import EmbeddedEngine  # noqa: PLC0415 - torch is an extra
        from seqserve.engines.embedded_device import find_device  # noqa: PLC0415
    except ImportError as error:
        raise DependencyMissing(
            "the embedded engine needs torch", hint="pip install 'seqserve[embedded]'"
        ) from error
    device = find_device(settings.device)
    is_native = choose_front(settings).name == "native"
    return EmbeddedEngine(
        device=device,
        intra_op_threads=settings.intra_op_threads,
        compute_slots=compute_slots(settings, device.name),
        allow_tf32=settings.allow_tf32,
        on_out_of_memory=on_out_of_memory,
        on_broken=on_broken,
        read_graph=graphs.graph_reader() if is_native else None,
    )


async def _torchserve(
    settings: Settings, archives: Sequence[Path], hooks: EngineHooks, stack: AsyncExitStack
) -> Engine:
    from seqserve.torchserve_setup import external_engine, managed_engine  # noqa: PLC0415 - an extra

    if settings.torchserve_address:
        return await stack.enter_async_context(external_engine(settings, hooks.presence))
    engine = await stack.enter_async_context(
        managed_engine(settings, archives, hooks.presence, hooks.observer, hooks.on_gone)
    )
    hooks.relay_metrics(engine.management.metrics)
    return engine


class Unheard:
    """A Presence of versions that nobody here waits for."""

    def note_away(self, name: str, version: str) -> None:
        """See Presence."""

    async def bring_back(self, name: str, version: str) -> bool:  # noqa: ARG002 - see Presence
        """See Presence."""
        return True
