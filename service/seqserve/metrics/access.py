"""Counts what the gate lets in and turns away, by client."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from seqserve.access.observer import AccessObserver, RefusalReason
from seqserve.metrics import table


class AccessMetrics(AccessObserver):
    """One for each registry; clients are names of the settings, so that callers cannot make series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refusals = table.ACCESS_REFUSALS.make(registry)
        self._requests = table.CLIENT_REQUESTS.make(registry)
        self._by_client: dict[str, Counter] = {}

    def note_access_refusal(self, client: str, reason: RefusalReason) -> None:
        """See AccessObserver."""
        self._refusals.labels(client, reason).inc()

    def note_client_request(self, client: str) -> None:
        """See AccessObserver."""
        counter = self._by_client.get(client)
        if counter is None:
            counter = self._by_client[client] = self._requests.labels(client)
        counter.inc()
