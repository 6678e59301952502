"""From settings to an engine that runs, and with it a TorchServe where one is wished for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import structlog

from seqserve.archive import read_archive
from seqserve.cores import available_cores
from seqserve.engines.base import Engine
from seqserve.engines.mirrored import MirroredEngine
from seqserve.errors import ArchiveInvalid, DependencyMissing
from seqserve.settings import Settings
from seqserve.signature import Signature

log = structlog.get_logger()


def compute_slots(settings: Settings, device: str) -> int:
    """How many batches may be computed at once: as set, else 1 for a GPU, else cores over threads."""
    if settings.compute_slots:
        return settings.compute_slots
    if device.startswith("cuda"):
        return 1
    return max(1, available_cores() // settings.intra_op_threads)


@asynccontextmanager
async def running_engine(
    settings: Settings, archives: Sequence[Path], on_loss: Callable[[], Awaitable[None]]
) -> AsyncIterator[Engine]:
    """The engine for the length of the block.

    archives: what will be loaded; message limits fit them.
    on_loss: awaited when what runs the models is gone.
    Raises DependencyMissing, SettingsInvalid, AddressInUse or StartFault.
    """
    async with AsyncExitStack() as stack:
        if settings.engine == "torchserve":
            engine: Engine = await _torchserve(settings, archives, stack, on_loss)
        else:
            engine = await asyncio.to_thread(_embedded, settings)  # importing torch takes seconds
            if settings.with_torchserve:
                mirror = await _torchserve(settings, archives, stack, _report_mirror_loss)
                engine = MirroredEngine(engine, mirror)
        stack.push_async_callback(engine.aclose)
        yield engine


def _embedded(settings: Settings) -> Engine:
    try:
        from seqserve.engines.embedded import EmbeddedEngine, choose_device  # noqa: PLC0415 - torch is an extra
    except ImportError as error:
        raise DependencyMissing(
            "the embedded engine needs torch", hint="pip install 'seqserve[embedded]'"
        ) from error
    slots = compute_slots(settings, str(choose_device(settings.device)))
    return EmbeddedEngine(
        device=settings.device, intra_op_threads=settings.intra_op_threads, compute_slots=slots
    )


async def _report_mirror_loss() -> None:
    log.error("TorchServe's HTTP is gone; the gateway serves on")


async def _torchserve(
    settings: Settings,
    archives: Sequence[Path],
    stack: AsyncExitStack,
    on_crash: Callable[[], Awaitable[None]],
) -> Engine:
    from seqserve.engines.torchserve import TorchServeEngine, needed_message_bytes  # noqa: PLC0415 - an extra
    from seqserve.engines.torchserve_config import TorchServePorts, TorchServeSettings  # noqa: PLC0415
    from seqserve.engines.torchserve_server import TorchServeServer  # noqa: PLC0415

    ports = TorchServePorts(
        http=settings.torchserve_http_port,
        management=settings.torchserve_management_port,
        metrics=settings.torchserve_metrics_port,
        grpc=settings.torchserve_grpc_port,
        grpc_management=settings.torchserve_grpc_management_port,
    )
    signatures = await asyncio.to_thread(_signatures, archives)
    largest = max(settings.max_message_bytes, needed_message_bytes(signatures))
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


def _signatures(archives: Sequence[Path]) -> list[Signature]:
    """Signatures of the readable archives; the repository tells of the others."""
    signatures = []
    for path in archives:
        with suppress(ArchiveInvalid):
            signatures.append(read_archive(path).signature)
    return signatures
