"""What orchestrators and Prometheus ask: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seqserve.repository.table import Repository


@dataclass(frozen=True, slots=True)
class Probes:
    """They have no body and take no part in the limits of inference."""

    repository: Repository
    registry: CollectorRegistry

    def routes(self) -> list[Route]:
        """For Starlette."""
        return [
            Route("/metrics", self.metrics),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
        ]

    async def metrics(self, _: Request) -> Response:
        """Prometheus's text."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

    async def healthz(self, _: Request) -> Response:
        """The process answers, so it lives."""
        return JSONResponse({"live": True})

    async def readyz(self, _: Request) -> Response:
        """See Repository.are_all_ready; with every version and its state."""
        is_ready = self.repository.are_all_ready()
        models = [
            {"name": version.name, "version": version.version, "state": version.state.value}
            for version in self.repository.versions()
        ]
        return JSONResponse({"ready": is_ready, "models": models}, 200 if is_ready else 503)
