"""The sections of the dashboard and the panels of each, in their order."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.grafana.panel import Panel
from deploy.grafana.sections.batches import QUEUE
from deploy.grafana.sections.calls import LATENCY, OVERVIEW, TRAFFIC
from deploy.grafana.sections.gateways import CLIENTS, GPU, PROCESS
from deploy.grafana.sections.models import MODELS
from deploy.grafana.sections.torchserve import TORCHSERVE

SECTIONS: dict[str, tuple[Panel, ...]] = {
    "Overview": OVERVIEW,
    "Traffic": TRAFFIC,
    "Latency": LATENCY,
    "Batches and the queue": QUEUE,
    "Models": MODELS,
    "Clients": CLIENTS,
    "The gateway itself": PROCESS,
    "The GPU": GPU,
    "TorchServe behind the gateway": TORCHSERVE,
}
"""Headings and the panels below each, in their order."""


def panels() -> Iterator[Panel]:
    """All of them, in their order."""
    for section in SECTIONS.values():
        yield from section
