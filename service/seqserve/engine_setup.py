"""From settings to an engine that runs, and with it a TorchServe where one is wished for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from seqserve.archive import claimed_signatures
from seqserve.cores import available_cores
from seqserve.engines.base import DeviceUse, Engine
from seqserve.engines.mirrored import MirroredEngine
from seqserve.errors import DependencyMissing
from seqserve.message_size import FLOOR_BYTES
from seqserve.settings import Settings

if TYPE_CHECKING:
    from seqserve.engines.embedded import EmbeddedEngine

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EngineHooks:
    """Whom to tell what becomes of the engine.

    on_loss: awaited when what runs the models is gone.
    on_broken_gpu: called in the event loop when the GPU answers this process no more; perhaps often.
    on_out_of_memory: called in any thread when a device had no memory for a batch.
    watch_gpu: called once with the GPU, where there is one.
    """

    on_loss: Callable[[], Awaitable[None]]
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
            engine: Engine = await _torchserve(settings, archives, stack, hooks.on_loss)
        else:
            engine = await _embedded(settings, hooks)
            if settings.with_torchserve:
                mirror = await _torchserve(settings, archives, stack, _report_mirror_loss)
                engine = MirroredEngine(engine, mirror)
        stack.push_async_callback(engine.aclose)
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
    return EmbeddedEngine(
        device=device,
        intra_op_threads=settings.intra_op_threads,
        compute_slots=compute_slots(settings, device.name),
        allow_tf32=settings.allow_tf32,
        on_out_of_memory=on_out_of_memory,
        on_broken=on_broken,
    )


async def _report_mirror_loss() -> None:
    log.error("TorchServe's HTTP is gone; the gateway serves on")


async def _torchserve(
    settings: Settings,
    archives: Sequence[Path],
    stack: AsyncExitStack,
    on_crash: Callable[[], Awaitable[None]],
) -> Engine:
    from seqserve.engines.torchserve.engine import TorchServeEngine, needed_message_bytes  # noqa: PLC0415 - an extra
    from seqserve.engines.torchserve.config import TorchServePorts, TorchServeSettings  # noqa: PLC0415
    from seqserve.engines.torchserve.server import TorchServeServer  # noqa: PLC0415

    ports = TorchServePorts(
        http=settings.torchserve_http_port,
        management=settings.torchserve_management_port,
        metrics=settings.torchserve_metrics_port,
        grpc=settings.torchserve_grpc_port,
        grpc_management=settings.torchserve_grpc_management_port,
    )
    signatures = await asyncio.to_thread(claimed_signatures, archives)
    largest = max(settings.max_message_bytes or FLOOR_BYTES, needed_message_bytes(signatures))
    server = TorchServeServer(
        TorchServeSettings(
            folder=settings.torchserve_folder,
            ports=ports,
            max_message_bytes=largest,
            intra_op_threads=settings.intra_op_threads,
        ),
        on_crash,
    )
    endpoint = await server.start()
    stack.push_async_callback(server.stop)
    return TorchServeEngine(endpoint)
