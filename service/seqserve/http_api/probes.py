"""What orchestrators and Prometheus ask: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seqserve.batching.ledgers import ReadCounts, no_counts
from seqserve.http_api.boundary import Boundary
from seqserve.metrics.relay import Relay
from seqserve.metrics.repository import Scrape, repository_gauges
from seqserve.repository.table import Repository


@dataclass(frozen=True, slots=True)
class Probes:
    """They have no body and take no part in the limits of inference; who is alive is anybody's to know."""

    repository: Repository
    registry: CollectorRegistry
    relay: Relay
    boundary: Boundary
    read_counts: ReadCounts = no_counts
    _writing: Executor = field(default_factory=lambda: ThreadPoolExecutor(1, "metrics"))

    def routes(self) -> list[Route]:
        """For Starlette."""
        return [
            Route("/metrics", self.boundary.guarded("metrics", self.metrics)),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
        ]

    async def metrics(self, _: Request) -> Response:
        """Prometheus's text, ours and then TorchServe's; a thread of its own writes it beside the calls."""
        scrape = Scrape(self.registry, repository_gauges(self.repository), self.read_counts())
        text = await asyncio.get_running_loop().run_in_executor(self._writing, generate_latest, scrape)
        return Response(text + await self.relay.text(), media_type=CONTENT_TYPE_LATEST)

    async def healthz(self, _: Request) -> Response:
        """The process answers, so it lives."""
        return JSONResponse({"live": True})

    async def readyz(self, request: Request) -> Response:
        """See Repository.are_all_ready; with every version and its state, and why a model does not answer.

        Models are named only to those who may call them.
        """
        is_ready = self.repository.are_all_ready()
        code = 200 if is_ready else 503
        if not self.boundary.has_scope(request, "inference"):
            return JSONResponse({"ready": is_ready}, code)
        models = [
            {"name": version.name, "version": version.version, "state": version.state.value}
            for version in self.repository.versions()
        ]
        document = {"ready": is_ready, "models": models, "unanswered": self.repository.unanswered()}
        if self.repository.unheard:
            document["reason"] = f"nobody listens for gRPC: {self.repository.unheard}"
        return JSONResponse(document, code)
