"""Builds the gateway from its settings, starts it and drains it: the composition root."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine, Sequence
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from seqserve.archive import scan_store
from seqserve.batching import Batcher, BatchLimits
from seqserve.engine_setup import compute_slots, running_engine
from seqserve.engines.base import Engine, LoadedModel
from seqserve.errors import EngineUnavailable
from seqserve.grpc_api import oip, predictions
from seqserve.grpc_api.boundary import Boundary
from seqserve.grpc_api.health import SERVICE as HEALTH_SERVICE
from seqserve.grpc_api.health import Health
from seqserve.grpc_api.listener import GrpcListener
from seqserve.http_api.app import build_app
from seqserve.http_api.listener import HttpListener
from seqserve.logs import configure_logs
from seqserve.metrics import Metrics
from seqserve.predictor import Predictor, batch_runner
from seqserve.repository import ModelState, Repository, RowBatcher
from seqserve.settings import Settings
from seqserve.signature import Signature
from seqserve.tracing import NoTracing, Tracing

log = structlog.get_logger()

SERVICES = (oip.SERVICE.full_name, predictions.SERVICE.full_name)
EXIT_AT_SECOND_SIGNAL = 130
EXIT_WITH_ENGINE_HUNG = 1
UNLOAD_SECONDS = 2.0  # beyond the grace period, for models to be unloaded


class Gateway:
    """One gateway: `start`, `load`, `drain`, in that order."""

    def __init__(self, settings: Settings, tracing: Tracing | None = None) -> None:
        self._settings = settings
        self._tracing = tracing or NoTracing()
        self._slots = asyncio.Semaphore(1)
        registry = CollectorRegistry()
        self._metrics = Metrics(registry)
        self.repository = Repository(self._make_batcher)
        self._health = Health(self.repository, SERVICES)
        self.repository.listeners += [self._metrics.follow, self._health.follow]
        predictor = Predictor(
            self.repository, self._metrics, settings.max_request_examples, settings.default_timeout_seconds
        )
        boundary = Boundary(self._tracing, self._metrics.count_malformed)
        services = (oip.InferenceService(predictor), predictions.PredictionService(predictor))
        handlers = [service.handler(boundary) for service in services]
        self._grpc = GrpcListener(handlers, settings.max_message_bytes)
        self._http = HttpListener(build_app(self.repository, registry))
        self.grpc_port = self.http_port = 0

    async def start(self) -> None:
        """Listen: alive, not ready. Raises AddressInUse."""
        host = self._settings.host
        await self._health.start(self._grpc.server)
        self._grpc.enable_reflection([*SERVICES, HEALTH_SERVICE])
        self.http_port = await self._http.start(host, self._settings.http_port)
        self.grpc_port = await self._grpc.start(host, self._settings.grpc_port)

    async def load(self, archives: Sequence[Path], engine: Engine) -> None:
        """Bring the models up and tell health what became of them."""
        self._slots = asyncio.Semaphore(compute_slots(self._settings, engine.device))
        await self.repository.load_all(archives, engine)
        await self._health.publish_overall()

    def report_serving(self) -> None:
        """Say in the log what is served."""
        states = [version.state for version in self.repository.versions()]
        ready = states.count(ModelState.READY)
        log.info("serving", engine=self._settings.engine, ready=ready, failed=len(states) - ready)
        if not ready:
            log.warning("no model is ready", model_store=str(self._settings.model_store))

    async def lose_engine(self) -> None:
        """What ran the models is gone: be alive and not ready."""
        await self.repository.lose_engine(EngineUnavailable("the engine that ran this model is gone"))
        await self._health.publish_overall()

    async def drain(self) -> bool:
        """Not ready → pause → refuse new calls → finish those in flight → models → HTTP.

        False where the engine did not answer within the grace period: its batch was given up.
        """
        was_serving = self.repository.is_initially_loaded
        self.repository.is_draining = True
        await self._health.drain()
        if was_serving:  # otherwise no load balancer sends anything yet
            await asyncio.sleep(self._settings.drain_pause_seconds)
        self._health.end_watches()
        is_over = await self._finish_calls(self._settings.drain_grace_seconds)
        await self._http.stop()
        await asyncio.to_thread(self._tracing.shutdown)
        return is_over

    async def _finish_calls(self, grace_seconds: float) -> bool:
        deadline = asyncio.get_running_loop().time() + grace_seconds
        await self._grpc.stop(grace_seconds)
        try:
            async with asyncio.timeout_at(deadline + UNLOAD_SECONDS):
                await self.repository.aclose()
        except TimeoutError:
            log.error("the engine does not answer; its batch is given up")
            return False
        return True

    def _make_batcher(self, signature: Signature, model: LoadedModel) -> RowBatcher:
        limits = BatchLimits(
            signature.max_batch_size, self._settings.max_queue_size, self._settings.max_queue_delay_seconds
        )
        observer = self._metrics.of_batches(signature.name, signature.version)
        return Batcher(batch_runner(model), limits, slots=self._slots, observer=observer)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal leaves at once.

    Raises StoreMissing, AddressInUse, DependencyMissing, SettingsInvalid or StartFault.
    """
    configure_logs(settings.log_level, settings.log_format)
    archives = scan_store(settings.model_store)
    stop = _stop_on_signals()
    gateway = Gateway(settings, _tracing(settings))
    async with contextlib.AsyncExitStack() as engines:  # they outlive the drain
        try:
            await gateway.start()
            log.info(
                "listening", host=settings.host, grpc_port=gateway.grpc_port, http_port=gateway.http_port
            )
            if await _unless(stop, _bring_up(gateway, settings, archives, engines)):
                gateway.report_serving()
                await stop.wait()
                log.info("draining")
        finally:
            is_over = await gateway.drain()
    log.info("stopped")
    if not is_over:  # a thread that never returns would keep the process from ending
        os._exit(EXIT_WITH_ENGINE_HUNG)


async def _bring_up(
    gateway: Gateway, settings: Settings, archives: Sequence[Path], engines: contextlib.AsyncExitStack
) -> None:
    engine = await engines.enter_async_context(running_engine(settings, archives, gateway.lose_engine))
    await gateway.load(archives, engine)


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
