"""What the repository holds and what waits there, read anew for each scrape.

So it is never out of date, costs a request nothing, and what has left the repository has no series.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from prometheus_client import Metric
from prometheus_client.registry import Collector

from seqserve.batching.ledgers import VersionCounts
from seqserve.metrics.merged import merge
from seqserve.metrics.table import (
    MODEL_LABEL,
    MODEL_STATE,
    QUEUED_EXAMPLES,
    READY_VERSIONS,
    REQUESTS_IN_FLIGHT,
)
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelState


@dataclass(frozen=True, slots=True)
class Scrape(Collector):
    """All that one scrape sees: a registry, which any thread may read, and gauges that were read before.

    counts: what is to be added to both, of a queue that counts for itself.
    """

    registry: Collector
    gauges: Sequence[Metric]
    counts: Sequence[VersionCounts] = ()

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        yield from merge(chain(self.registry.collect(), self.gauges), self.counts)


def repository_gauges(repository: Repository) -> list[Metric]:
    """States, labels and queues as they are now; to be read on the repository's event loop."""
    return [*_versions(repository), *_models(repository)]


def _versions(repository: Repository) -> tuple[Metric, ...]:
    states, queued, in_flight = MODEL_STATE.family(), QUEUED_EXAMPLES.family(), REQUESTS_IN_FLIGHT.family()
    for entry in repository.versions():
        labels = [entry.name, entry.version]
        for state in ModelState:
            states.add_metric([*labels, state.value], int(state is entry.state))
        if entry.ready is not None:  # of a version on its way out too, until it is unloaded
            queued.add_metric(labels, entry.ready.batcher.queued_examples)
            in_flight.add_metric(labels, entry.ready.calls)
    return states, queued, in_flight


def _models(repository: Repository) -> tuple[Metric, ...]:
    ready, pointers = READY_VERSIONS.family(), MODEL_LABEL.family()
    for name in repository.names():
        entries = repository.versions_of(name)
        ready.add_metric([name], sum(entry.state is ModelState.READY for entry in entries))
        for label, version in repository.routing(name).labels.items():
            pointers.add_metric([name, label, version], 1)
    return ready, pointers
