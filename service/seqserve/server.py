"""Serves: starts the gateway and its engine, follows store and configuration, and drains at a signal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import structlog

from seqserve.archive import claimed_signatures, scan_store
from seqserve.config_watch import ConfigWatch
from seqserve.cores import available_cores
from seqserve.engine_setup import running_engine
from seqserve.errors import EngineUnavailable
from seqserve.exposure import exposures
from seqserve.gateway import Gateway
from seqserve.heap import freeze_collector, keep_heap
from seqserve.log_lines import never_wait
from seqserve.logs import configure_logs
from seqserve.native_front import library
from seqserve.native_front.choice import Front, choose_front
from seqserve.open_files import make_room
from seqserve.ports import PortName
from seqserve.settings import Settings
from seqserve.tracing import Tracing
from seqserve.trust_setup import check_trust, trust_of

log = structlog.get_logger()

EXIT_AT_SECOND_SIGNAL = 130
EXIT_WITH_ENGINE_HUNG = 1
SWITCH_SECONDS = 0.0005
"""How long a compute slot's thread may wait for Python's lock while the event loop has it; by itself 5 ms."""
WAITING_THREADS = 4  # beyond one a core, for those that wait for files
EXIT_WITH_BROKEN_GPU = 70  # a new process gets a new context on the GPU: the orchestrator starts one


async def serve(
    settings: Settings, *, config: Path | None = None, reread: Callable[[], Settings] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal leaves at once.

    config, reread: the configuration file, which is followed, and what reads all settings again.
    Where the GPU breaks it drains by itself, and ends the process with status 70.
    Raises StoreMissing, AddressInUse, DependencyMissing, SettingsInvalid or StartFault, and EngineUnavailable
    after a drain that the end of a TorchServe has caused (exit_with_torchserve).
    """
    never_wait(sys.stderr)
    configure_logs(settings.log_level, settings.log_format)
    make_room(settings)
    keep_heap()
    limit_threads(available_cores())
    if choose_front(settings).name == "native":
        sys.setswitchinterval(SWITCH_SECONDS)
    archives = scan_store(settings.model_store)
    check_trust(settings)
    stop = _stop_on_signals()
    signatures = claimed_signatures(archives, trust_of(settings))
    gateway = Gateway(settings, signatures=signatures, tracing=_tracing(settings))
    watch = _config_watch(gateway, settings, config, reread)  # before models are loaded: that takes time
    async with contextlib.AsyncExitStack() as engines:  # they outlive the drain
        try:
            await gateway.start()
            report_listening(gateway.ports, settings, gateway.front)
            if await _unless(stop, _bring_up(gateway, settings, archives, engines)):
                gateway.report_serving()
                async with _following(gateway, watch):
                    await _unless(stop, gateway.outlive_engine())
                log.info("draining")
        finally:
            is_over = await gateway.drain()
    log.info("stopped")
    if gateway.is_gpu_broken:  # at once: libraries that clean up on such a GPU may hang
        os._exit(EXIT_WITH_BROKEN_GPU)
    if not is_over:  # a thread that never returns would keep the process from ending
        os._exit(EXIT_WITH_ENGINE_HUNG)
    if gateway.is_torchserve_gone:
        where = (
            settings.torchserve_folder
            or "its temporary folder, which is gone; torchserve_folder names one that stays"
        )
        raise EngineUnavailable(f"TorchServe ended; its log says why, in {where}")


def limit_threads(cores: int) -> None:
    """Keep the event loop's threads, which decode pictures and read files, to so many cores.

    By itself asyncio goes by the host's cores, whatever a container may use of them.
    """
    threads = ThreadPoolExecutor(cores + WAITING_THREADS, thread_name_prefix="work")
    asyncio.get_running_loop().set_default_executor(threads)


def report_listening(bound: Mapping[PortName, int], settings: Settings, front: Front) -> None:
    """Say in the log where it listens and what answers, and warn of what is open to strangers there."""
    ports = {f"{name}_port": port for name, port in bound.items()}
    is_tls = settings.tls_certificate is not None
    versions = {"grpc_library": library.grpc_version()} if front.name == "native" else {}
    log.info("listening", host=settings.host, tls=is_tls, front=front.name, **versions, **ports)
    if front.reason:
        log.info(
            "the native front is built and not used", reason=front.reason, hint="set behind_proxy, or front"
        )
    for open_door in exposures(settings):
        log.warning(open_door.what, host=getattr(settings, open_door.setting), hint=open_door.hint)


async def _bring_up(
    gateway: Gateway, settings: Settings, archives: Sequence[Path], engines: contextlib.AsyncExitStack
) -> None:
    engine = await engines.enter_async_context(running_engine(settings, archives, gateway.engine_hooks))
    freeze_collector()
    await gateway.load(partial(scan_store, settings.model_store), engine)


def _config_watch(
    gateway: Gateway, settings: Settings, config: Path | None, reread: Callable[[], Settings] | None
) -> ConfigWatch | None:
    if config is None or reread is None:
        return None
    return ConfigWatch(config, settings, reread, gateway.apply, gateway.metrics.count_config_reload)


@contextlib.asynccontextmanager
async def _following(gateway: Gateway, watch: ConfigWatch | None) -> AsyncIterator[None]:
    """Follow the store, and the configuration where there is a file, for the length of the block."""
    work = [gateway.follow_store()]
    if watch is not None:
        work.append(watch.follow())
    followers = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)


def _tracing(settings: Settings) -> Tracing | None:
    if not settings.otlp_endpoint:
        return None
    from seqserve.otlp import OtlpTracing  # noqa: PLC0415 - an extra

    return OtlpTracing(settings.otlp_endpoint)


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(EXIT_AT_SECOND_SIGNAL)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    return stop


async def _unless(stop: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Do the work, or give it up when told to stop; whether it was done. Raises what the work raises."""
    doing, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if doing.done():
        await doing
        return True
    doing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await doing
    return False
