"""Counts and measures what the gateway does, on a registry that is passed in.

table.py has every name. Labels carry only models of the repository; anything else is `unknown`,
so that callers cannot make time series.
"""

from __future__ import annotations

import platform
import sys
from collections import OrderedDict
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    ProcessCollector,
    disable_created_metrics,
)

from seqserve import __version__
from seqserve.engines.base import EngineObserver
from seqserve.metrics import table
from seqserve.metrics.versions import VersionFamilies, VersionMetrics
from seqserve.repository.loading import LoadObserver
from seqserve.repository.table import UNKNOWN
from seqserve.repository.versions import ModelState, ModelVersion

CODES = ("OK", "UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")
"""Of a version from its beginning: a rate sees no step from nothing to 1. Promises are about these."""


class Metrics(LoadObserver, EngineObserver):
    """All that is counted; one for each registry.

    front: what answers gRPC.
    out_of_memory: to be increased, in any thread, when a device had no memory for a batch.
    refused_connections: to be increased for each HTTP connection that was one too many.
    """

    def __init__(self, registry: CollectorRegistry, front: str = "python") -> None:
        # They double the number of series, and Prometheus itself notices when a counter starts again.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client's
        self._registry = registry
        self.out_of_memory = table.OUT_OF_MEMORY.make(registry)
        self.refused_connections = table.REFUSED_CONNECTIONS.make(registry)
        self._versions = VersionFamilies(registry)
        self._requests = table.REQUESTS.make(registry)
        self._requests_by_code: dict[tuple[str, str, str], Counter] = {}
        self._reloads = table.RELOADS.make(registry)
        self._config_reloads = table.CONFIG_RELOADS.make(registry)
        self._tls_reloads = table.TLS_RELOADS.make(registry)
        self._golden_checks = table.GOLDEN_CHECKS.make(registry)
        self._golden_delta = table.GOLDEN_DELTA.make(registry)
        self._engine_restarts = table.ENGINE_RESTARTS.make(registry)
        self._engine_drift = table.ENGINE_DRIFT.make(registry)
        self._event_loop_lag = table.EVENT_LOOP_LAG_SECONDS.make(registry)
        self._event_loop_tasks = table.EVENT_LOOP_TASKS.make(registry)
        self._build = table.BUILD.make(registry)
        self._gone: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._front = front
        self.describe_engine("", "")
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)

    def count_request(self, model: str, version: str, code: str) -> None:
        """One inference request is over; code: of gRPC."""
        self._request_counter(model, version, code).inc()

    def _request_counter(self, model: str, version: str, code: str) -> Counter:
        counter = self._requests_by_code.get((model, version, code))
        if counter is None:
            counter = self._requests.labels(model, version, code)
            self._requests_by_code[model, version, code] = counter
        return counter

    def count_malformed(self) -> None:
        """An inference request that is no valid protobuf belongs to no model."""
        self.count_request(UNKNOWN, UNKNOWN, "INVALID_ARGUMENT")

    def count_refused(self, requests: int) -> None:
        """So many inference requests were refused before anything of them was read."""
        self._requests.labels(UNKNOWN, UNKNOWN, "RESOURCE_EXHAUSTED").inc(requests)

    def of_version(self, model: str, version: str) -> VersionMetrics:
        """What hears of one version's requests and batches; its series begin at 0."""
        for code in CODES:
            self._request_counter(model, version, code)
        return VersionMetrics(self._versions, model, version)

    def note_reload(self, model: str, result: str) -> None:
        """See LoadObserver."""
        self._reloads.labels(model, result).inc()

    def note_golden_check(self, model: str, version: str, *, delta: float | None) -> None:
        """See LoadObserver."""
        self._golden_checks.labels(model, version, "failed" if delta is None else "passed").inc()
        if delta is not None:
            self._golden_delta.labels(model, version).set(delta)

    def note_restart(self) -> None:
        """See EngineObserver."""
        self._engine_restarts.inc()

    def note_drift(self, what: str) -> None:
        """See EngineObserver."""
        self._engine_drift.labels(what).inc()

    def count_config_reload(self, result: str) -> None:
        """The configuration file has changed and was `loaded` or `refused`."""
        self._config_reloads.labels(result).inc()

    def count_tls_reload(self, result: str) -> None:
        """New files of certificates were `loaded` or `refused`."""
        self._tls_reloads.labels(result).inc()

    def watch_certificate(self, read_expiry: Callable[[], float]) -> None:
        """Serve when the certificate in use expires. read_expiry: gives it, in seconds since 1970."""
        table.TLS_CERTIFICATE_EXPIRY.make(self._registry).set_function(read_expiry)

    def note_event_loop(self, lag_seconds: float, tasks: int) -> None:
        """A timer of the event loop was so late, and so many of its tasks have not ended."""
        self._event_loop_lag.observe(lag_seconds)
        self._event_loop_tasks.set(tasks)

    def describe_engine(self, engine: str, device: str) -> None:
        """Say what runs; to be called when the engine is up, and torch is loaded if it ever will be."""
        torch = sys.modules.get("torch")
        self._build.info(
            {
                "version": __version__,
                "python": platform.python_version(),
                "engine": engine,
                "device": device,
                "torch": str(getattr(torch, "__version__", "")),
                "front": self._front,
            }
        )

    async def follow(self, changed: ModelVersion) -> None:
        """A listener of the repository: what has been gone for long loses its series."""
        version = (changed.name, changed.version)
        self._gone.pop(version, None)
        if changed.state in {ModelState.UNLOADED, ModelState.FAILED}:
            self._golden_delta.remove_by_labels(_labels(version))
            self._gone[version] = None
            if len(self._gone) > table.KEPT_VERSIONS:
                self._forget(self._gone.popitem(last=False)[0])

    def _forget(self, version: tuple[str, str]) -> None:
        self._versions.forget(*version)
        self._golden_checks.remove_by_labels(_labels(version))
        self._requests.remove_by_labels(_labels(version))
        for key in [key for key in self._requests_by_code if key[:2] == version]:
            del self._requests_by_code[key]


def _labels(version: tuple[str, str]) -> dict[str, str]:
    return dict(zip(table.VERSION, version, strict=True))
