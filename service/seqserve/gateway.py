"""The gateway: every part of it, made from the settings and put together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from seqserve.batching import Batcher
from seqserve.engine_setup import EngineHooks, compute_slots
from seqserve.engines.base import Engine, LoadedModel
from seqserve.errors import EngineUnavailable, StoreMissing
from seqserve.grpc_api import oip, predictions
from seqserve.grpc_api.boundary import Boundary
from seqserve.grpc_api.health import Health
from seqserve.grpc_api.limits import GrpcLimits
from seqserve.grpc_api.oip_repository import AdminService
from seqserve.http_api.app import build_app
from seqserve.http_api.limits import HttpLimits
from seqserve.http_api.listener import HttpListener
from seqserve.logs import set_log_level
from seqserve.message_size import message_limit_bytes
from seqserve.metrics.counts import Metrics
from seqserve.metrics.gpu import GpuMetrics
from seqserve.metrics.loop_lag import LoopLag
from seqserve.metrics.repository import RepositoryCollector
from seqserve.observers import Observers, VersionObserver
from seqserve.ports import PortName, Ports, make_ports
from seqserve.predictor import Predictor, batch_runner
from seqserve.repository.control import AdminControl
from seqserve.repository.loading import Loading
from seqserve.repository.policy import VersionPolicy
from seqserve.repository.routing import Routing
from seqserve.repository.sync import StoreSync
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelState, RowBatcher
from seqserve.settings import Settings
from seqserve.signature import Signature
from seqserve.statistics import Statistics
from seqserve.tracing import NoTracing, Tracing
from seqserve.watching import changes

log = structlog.get_logger()

SERVICES = (oip.SERVICE.full_name, predictions.SERVICE.full_name)
BROKEN_GPU_GRACE_SECONDS = 2.0  # nobody can be answered any more
UNLOAD_SECONDS = 2.0  # beyond the grace period, for models to be unloaded


class Gateway:
    """One gateway: `start`, `load`, `drain`, in that order; `follow_store` in between."""

    def __init__(
        self, settings: Settings, *, signatures: Iterable[Signature] = (), tracing: Tracing | None = None
    ) -> None:
        """signatures: of what will be loaded; message limits fit them."""
        self._settings = settings
        self._tracing = tracing or NoTracing()
        self._slots = asyncio.Semaphore(1)
        self._gpu_broke = asyncio.Event()
        self._registry = CollectorRegistry()
        self.metrics = Metrics(self._registry)
        self._lag = LoopLag(self.metrics.note_event_loop_lag)
        self._statistics = Statistics()
        self.repository = Repository(is_any_enough=settings.ready_when == "any")
        self._registry.register(RepositoryCollector(self.repository))
        self._health = Health(self.repository, SERVICES)
        self.repository.listeners += [self.metrics.follow, self._health.follow]
        self._control = AdminControl()
        self._boundary = Boundary(self._tracing, self.metrics.count_malformed)
        self._sync: StoreSync | None = None
        self._ports = self._make_ports(grpc_limits(settings, signatures))

    @property
    def ports(self) -> Mapping[PortName, int]:
        """What it listens on, once it is started."""
        return self._ports.bound

    @property
    def grpc_port(self) -> int:
        """Of gRPC, once it is started."""
        return self.ports["grpc"]

    @property
    def http_port(self) -> int:
        """Of HTTP, once it is started."""
        return self.ports["http"]

    def _make_ports(self, limits: GrpcLimits) -> Ports:
        settings, boundary = self._settings, self._boundary
        predictor = Predictor(
            self.repository, self.metrics, settings.max_request_examples,
            settings.default_timeout_seconds, settings.max_timeout_seconds,
        )  # fmt: skip
        control = self._control if settings.admin_on_inference_port else None
        http_limits = HttpLimits(limits.max_message_bytes, settings.default_timeout_seconds)
        app = build_app(
            predictor, self._statistics, self._registry,
            limits=http_limits, tracing=self._tracing, control=control,
        )  # fmt: skip
        handlers = [
            oip.InferenceService(predictor, self._statistics, control).handler(boundary),
            predictions.PredictionService(predictor).handler(boundary),
        ]
        admin = AdminService(self.repository, self._control).handler(boundary)
        return make_ports(
            settings, limits, health=self._health, http=HttpListener(app), handlers=handlers,
            admin_handler=admin, services=SERVICES,
        )  # fmt: skip

    async def start(self) -> None:
        """Listen: alive, not ready. Raises AddressInUse."""
        await self.repository.set_routing(_routing(self._settings))
        self._lag.start()
        await self._ports.start(self._settings)

    async def load(self, list_archives: Callable[[], Sequence[Path]], engine: Engine) -> None:
        """Bring the models up and tell health what became of them. Raises StoreMissing.

        list_archives: the paths of the store's archives at that moment.
        """
        self.repository.compute_slots = compute_slots(self._settings, engine.device)
        self._slots = asyncio.Semaphore(self.repository.compute_slots)
        self.metrics.describe_engine(engine.name, engine.device)
        loading = Loading(self.repository, engine, self._make_batcher, self._observer_of, self.metrics)
        self._sync = StoreSync(self.repository, loading, list_archives, self._policy_of)
        await self._sync.load_initially()
        self._control.target = self._sync
        self._health.publish_overall()

    async def follow_store(self) -> None:
        """Load and unload as the store changes, until this task is cancelled."""
        settings = self._settings
        async for _ in changes(settings.model_store, settings.watch, settings.watch_interval_seconds):
            await self.sync()

    async def sync(self) -> None:
        """Look at the store once. A store that is away, and what else goes wrong, changes nothing."""
        if self._sync is None:
            return
        try:
            await self._sync.sync()
        except StoreMissing as error:
            log.warning("the store is away; what is loaded serves on", reason=str(error))
        except Exception:
            log.exception("the store could not be followed")
        self._health.publish_overall()

    async def apply(self, settings: Settings) -> None:
        """Take over labels, weights, version policies and the log level."""
        self._settings = settings
        set_log_level(settings.log_level)
        await self.repository.set_routing(_routing(settings))
        await self.sync()

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
        self._health.publish_overall()

    @property
    def engine_hooks(self) -> EngineHooks:
        """What the engine tells this gateway."""
        return EngineHooks(
            on_loss=self.lose_engine,
            on_broken_gpu=self._gpu_broke.set,
            on_out_of_memory=self.metrics.out_of_memory.inc,
            watch_gpu=lambda gpu: self._registry.register(GpuMetrics(gpu)),
        )

    @property
    def is_gpu_broken(self) -> bool:
        """Whether the GPU answers this process no more."""
        return self._gpu_broke.is_set()

    async def outlive_gpu(self) -> None:
        """Wait until the GPU breaks; from then on no model is ready."""
        await self._gpu_broke.wait()
        log.error("the GPU is broken for this process, which ends; the next one may use it again")
        await self.lose_engine()

    async def drain(self) -> bool:
        """Not ready → pause → refuse new calls → finish those in flight → models → HTTP.

        False where the engine did not answer within the grace period: its batch was given up.
        """
        was_serving = self.repository.is_initially_loaded
        self.repository.is_draining = True
        self._health.drain()
        if was_serving:  # otherwise no load balancer sends anything yet
            await asyncio.sleep(self._settings.drain_pause_seconds)
        self._health.end_watches()
        grace_seconds = self._settings.drain_grace_seconds
        if self.is_gpu_broken:
            grace_seconds = min(grace_seconds, BROKEN_GPU_GRACE_SECONDS)
        is_over = await self._finish_calls(grace_seconds)
        self._lag.stop()
        await self._ports.stop_rest()
        await asyncio.to_thread(self._tracing.shutdown)
        return is_over

    async def _finish_calls(self, grace_seconds: float) -> bool:
        deadline = asyncio.get_running_loop().time() + grace_seconds
        self._boundary.drain()
        await self._control.aclose()
        await self._ports.stop_calls(grace_seconds)
        try:
            async with asyncio.timeout_at(deadline + UNLOAD_SECONDS):
                await self.repository.aclose()
        except TimeoutError:
            log.error("the engine does not answer; its batch is given up")
            return False
        return True

    def _policy_of(self, name: str) -> VersionPolicy:
        return self._settings.policy_of(name)

    def _observer_of(self, name: str, version: str) -> VersionObserver:
        return Observers([self.metrics.of_version(name, version), self._statistics.of(name, version)])

    def _make_batcher(
        self, signature: Signature, model: LoadedModel, observer: VersionObserver
    ) -> RowBatcher:
        limits = self._settings.batch_limits(signature)
        return Batcher(batch_runner(model, observer), limits, slots=self._slots, observer=observer)


def _routing(settings: Settings) -> dict[str, Routing]:
    return {name: own.routing for name, own in settings.models.items()}


def grpc_limits(settings: Settings, signatures: Iterable[Signature]) -> GrpcLimits:
    """What the gRPC ports take, by the settings and the models."""
    return GrpcLimits(
        max_message_bytes=message_limit_bytes(
            settings.max_message_bytes, signatures, settings.max_request_examples
        ),
        max_concurrent_streams=settings.max_concurrent_streams,
        keepalive_seconds=settings.keepalive_seconds,
        keepalive_minimum_seconds=settings.keepalive_minimum_seconds,
        handshake_timeout_seconds=settings.handshake_timeout_seconds,
        idle_timeout_seconds=settings.idle_timeout_seconds,
    )
