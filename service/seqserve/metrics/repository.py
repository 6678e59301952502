"""What the repository holds and what waits there, read anew for each scrape.

So it is never out of date, costs a request nothing, and what has left the repository has no series.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from seqserve.metrics.table import (
    MODEL_LABEL,
    MODEL_STATE,
    QUEUED_EXAMPLES,
    READY_VERSIONS,
    REQUESTS_IN_FLIGHT,
)
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelState


class RepositoryCollector(Collector):
    """To be registered once; a scrape belongs on the event loop that the repository is used on."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """States, labels and queues as they are now."""
        yield from self._versions()
        yield from self._models()

    def _versions(self) -> Iterator[GaugeMetricFamily]:
        states, queued, in_flight = (
            MODEL_STATE.family(),
            QUEUED_EXAMPLES.family(),
            REQUESTS_IN_FLIGHT.family(),
        )
        for entry in self._repository.versions():
            labels = [entry.name, entry.version]
            for state in ModelState:
                states.add_metric([*labels, state.value], int(state is entry.state))
            if entry.ready is not None:
                queued.add_metric(labels, entry.ready.batcher.queued_examples)
                in_flight.add_metric(labels, entry.ready.calls)
        yield from (states, queued, in_flight)

    def _models(self) -> Iterator[GaugeMetricFamily]:
        ready, pointers = READY_VERSIONS.family(), MODEL_LABEL.family()
        for name in self._repository.names():
            entries = self._repository.versions_of(name)
            ready.add_metric([name], sum(entry.state is ModelState.READY for entry in entries))
            for label, version in self._repository.routing(name).labels.items():
                pointers.add_metric([name, label, version], 1)
        yield from (ready, pointers)
