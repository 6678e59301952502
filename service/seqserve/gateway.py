"""The gateway: every part of it, made from the settings and put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry

from seqserve.access.gate import Gate
from seqserve.batching.batcher import Batcher
from seqserve.batching.ledgers import VersionCounts
from seqserve.batching.observers import Observers, VersionObserver
from seqserve.cores import available_cores
from seqserve.decoding import PictureDecoder
from seqserve.door import Door
from seqserve.engine_setup import EngineHooks, batch_limits, compute_slots
from seqserve.engines.base import Engine, LoadedModel
from seqserve.errors import EngineUnavailable
from seqserve.grpc_api import oip, predictions
from seqserve.grpc_api.boundary import Boundary
from seqserve.grpc_api.health import Health
from seqserve.grpc_api.limits import GrpcLimits
from seqserve.grpc_api.oip_repository import AdminService
from seqserve.http_api.app import build_app
from seqserve.http_api.limits import HttpLimits
from seqserve.logs import set_log_level
from seqserve.metrics.access import AccessMetrics
from seqserve.metrics.counts import Metrics
from seqserve.metrics.gpu import GpuMetrics
from seqserve.metrics.loop_lag import LoopLag
from seqserve.metrics.relay import Relay
from seqserve.native_front.choice import choose_front
from seqserve.ports import PortName, Ports, followed_certificates, grpc_limits, make_ports
from seqserve.predictor import Predictor, batch_runner
from seqserve.repository.absence import Absence
from seqserve.repository.control import AdminControl
from seqserve.repository.following import Following
from seqserve.repository.loading import Loading
from seqserve.repository.policy import VersionPolicy
from seqserve.repository.routing import Routing
from seqserve.repository.sync import StoreSync
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelState, RowBatcher
from seqserve.settings import Settings
from seqserve.signature import Signature
from seqserve.statistics import Statistics
from seqserve.traced_batches import TracedBatcher, TracedEngine, TracedRequests
from seqserve.tracing import NoTracing, Tracing
from seqserve.trust_setup import trust_of
from seqserve.watching import changes

if TYPE_CHECKING:
    from seqserve.native_front.front import NativeFront

log = structlog.get_logger()

SERVICES = (oip.SERVICE.full_name, predictions.SERVICE.full_name)
BROKEN_GPU_GRACE_SECONDS = 2.0  # nobody can be answered any more
REFUSE_SECONDS = 1.0  # for callers to hear that they should go elsewhere
UNLOAD_SECONDS = 2.0  # beyond the grace period, for models to be unloaded


class Gateway:
    """One gateway: `start`, `load`, `drain`, in that order; `follow_store` in between."""

    def __init__(
        self, settings: Settings, *, signatures: Iterable[Signature] = (), tracing: Tracing | None = None
    ) -> None:
        """Raises SettingsInvalid for TLS' files, and DependencyMissing for a front that is not built.

        signatures: of what will be loaded; message limits fit.
        """
        self._settings = settings
        self.front = choose_front(settings)
        self._tracing = tracing or NoTracing()
        self._is_traced = not isinstance(self._tracing, NoTracing)
        self._limits = grpc_limits(settings, signatures)
        self._slots = asyncio.Semaphore(1)
        self._traced_engine: TracedEngine | None = None
        self._gpu_broke = asyncio.Event()
        self._torchserve_ended = asyncio.Event()
        self._registry = CollectorRegistry()
        self.metrics = Metrics(self._registry, self.front.name)
        self._relay = Relay()
        self._lag = LoopLag(lambda lag: self.metrics.note_event_loop(lag, len(asyncio.all_tasks())))
        self._statistics = Statistics(self._read_counts)
        self.repository = Repository(is_any_enough=settings.ready_when == "any")
        self._health = Health(self.repository, SERVICES)
        self.repository.listeners += [self.metrics.follow, self._statistics.follow, self._health.follow]
        self._absence = Absence(self.repository)
        self._door = Door()
        self._control = AdminControl()
        self._gate = Gate(AccessMetrics(self._registry))
        self._gate.follow(settings.clients)
        self._boundary = Boundary(
            self._tracing, self.metrics.count_malformed, self._limits.max_message_bytes, self._gate
        )
        self._following: Following | None = None
        self._native = self._native_front() if self.front.name == "native" else None
        self._ports = self._make_ports(self._limits)

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
            PictureDecoder(settings.max_queue_size, available_cores()), self._door,
        )  # fmt: skip
        control = self._control if settings.admin_on_inference_port else None
        http_limits = HttpLimits(limits.max_message_bytes, settings.default_timeout_seconds)
        app = build_app(
            predictor, self._statistics, self._registry, self._relay,
            limits=http_limits, tracing=self._tracing, gate=self._gate, control=control,
            read_counts=self._read_counts,
        )  # fmt: skip
        handlers = [
            oip.InferenceService(predictor, self._statistics, control).handler(boundary),
            predictions.PredictionService(predictor).handler(boundary),
        ]
        admin = AdminService(self.repository, self._control).handler(boundary)
        return make_ports(
            settings, limits, health=self._health, app=app,
            certificates=followed_certificates(settings, self.metrics), handlers=handlers,
            admin_handler=admin, services=SERVICES, gate=self._gate,
            on_refused_connection=self.metrics.refused_connections.inc,
            make_main=None if self._native is None else self._native.listener,
        )  # fmt: skip

    def _native_front(self) -> NativeFront:
        from seqserve.native_front.front import NativeFront  # noqa: PLC0415 - it may not be built

        front = NativeFront(
            self._settings, self._limits, boundary=self._boundary, repository=self.repository,
            gate=self._gate, tracing=self._tracing, on_forgotten=self._statistics.keep,
            on_refused=self.metrics.count_refused,
        )  # fmt: skip
        self._door.side_doors.append(front.server)
        return front

    def _read_counts(self) -> Sequence[VersionCounts]:
        return () if self._native is None else self._native.read_counts()

    async def start(self) -> None:
        """Listen: alive, not ready. Raises AddressInUse."""
        await self.repository.set_routing(_routing(self._settings))
        self._lag.start()
        if self._native is not None:
            self._native.start()
        await self._ports.start(self._settings)

    async def load(self, list_archives: Callable[[], Sequence[Path]], engine: Engine) -> None:
        """Bring the models up and tell health what became of them. Raises StoreMissing.

        list_archives: the paths of the store's archives at that moment.
        """
        self.repository.compute_slots = compute_slots(self._settings, engine.device)
        self._slots = asyncio.Semaphore(self.repository.compute_slots)
        self._traced_engine = TracedEngine(engine.name, engine.device, engine.can_be_away)
        if self._native is not None:
            self._native.start_slots(self.repository.compute_slots)
        self.metrics.describe_engine(engine.name, engine.device)
        loading = Loading(
            self.repository, engine, self._make_batcher, self._observer_of, self.metrics,
            trust_of(self._settings),
        )  # fmt: skip
        sync = StoreSync(self.repository, loading, list_archives, self._policy_of)
        self._following = Following(sync, self._store_changes, self._health.publish_overall)
        await sync.load_initially()
        self._control.target = sync
        self._health.publish_overall()

    async def follow_store(self) -> None:
        """Load and unload as the store changes, until this task is cancelled."""
        if self._following is not None:
            await self._following.run()

    async def sync(self) -> None:
        """Look at the store once, now."""
        if self._following is not None:
            await self._following.look()

    async def apply(self, settings: Settings) -> None:
        """Take over clients, labels, weights, version policies and the log level.

        What has to be loaded or unloaded for it follows with the next look at the store, which is due.
        """
        self._settings = settings
        set_log_level(settings.log_level)
        self._gate.follow(settings.clients)
        if self._native is not None:
            self._native.hot_path.look()
        self._health.statuses.wake()  # strangers may watch models on the port for probes
        await self.repository.set_routing(_routing(settings))
        if self._following is not None:
            self._following.wake()

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
            presence=self._absence,
            observer=self.metrics,
            relay_metrics=self._relay.read_from,
            on_gone=self._torchserve_ended.set,
            on_broken_gpu=self._gpu_broke.set,
            on_out_of_memory=self.metrics.out_of_memory.inc,
            watch_gpu=lambda gpu: self._registry.register(GpuMetrics(gpu)),
        )

    @property
    def is_gpu_broken(self) -> bool:
        """Whether the GPU answers this process no more."""
        return self._gpu_broke.is_set()

    @property
    def is_torchserve_gone(self) -> bool:
        """Whether a TorchServe of our own has ended that was not to be started again."""
        return self._torchserve_ended.is_set()

    async def outlive_engine(self) -> None:
        """Wait until the GPU breaks, or a TorchServe ends for good; from then on no model is ready."""
        ends = [asyncio.create_task(event.wait()) for event in (self._gpu_broke, self._torchserve_ended)]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        if self.is_gpu_broken:
            log.error("the GPU is broken for this process, which ends; the next one may use it again")
        await self.lose_engine()

    async def drain(self) -> bool:
        """Not ready → pause → refuse new calls → finish those in flight → models → HTTP.

        False where the engine did not answer within the grace period, or a compute slot is in a batch still:
        the batch was given up, and may keep the process from ending.
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
        if self._native is not None:
            is_over = await self._native.aclose() and is_over
        self._lag.stop()
        await self._ports.stop_rest()
        await asyncio.to_thread(self._tracing.shutdown)
        return is_over

    async def _finish_calls(self, grace_seconds: float) -> bool:
        deadline = asyncio.get_running_loop().time() + grace_seconds
        self._boundary.drain()
        await self._control.aclose()
        await self._door.close(min(REFUSE_SECONDS, grace_seconds / 2))
        await self._ports.stop_calls(deadline - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout_at(deadline + UNLOAD_SECONDS):
                await self.repository.aclose()
                if self._following is not None:
                    await self._following.sync.leaving.aclose()
        except TimeoutError:
            log.error("the engine does not answer; its batch is given up")
            return False
        return True

    def _store_changes(self) -> AsyncIterator[None]:
        settings = self._settings
        return changes(settings.model_store, settings.watch, settings.watch_interval_seconds)

    def _policy_of(self, name: str) -> VersionPolicy:
        return self._settings.policy_of(name)

    def _observer_of(self, name: str, version: str) -> VersionObserver:
        observers = [self.metrics.of_version(name, version), self._statistics.of(name, version)]
        return Observers([*observers, TracedRequests(name, version)] if self._is_traced else observers)

    def _make_batcher(
        self, signature: Signature, model: LoadedModel, observer: VersionObserver
    ) -> RowBatcher:
        self._limits.warn_of_what_does_not_fit(signature, self._settings.max_request_examples)
        limits = batch_limits(self._settings, signature)
        if self._traced_engine is not None and self._is_traced:  # native queues know nothing of traces
            return TracedBatcher(
                signature, model, limits,
                engine=self._traced_engine, slots=self._slots, observer=observer,
            )  # fmt: skip
        if self._native is not None:
            return self._native.make_batcher(signature, model, limits, observer)
        return Batcher(batch_runner(model, observer), limits, slots=self._slots, observer=observer)


def _routing(settings: Settings) -> dict[str, Routing]:
    return {name: own.routing for name, own in settings.models.items()}
