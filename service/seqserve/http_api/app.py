"""What HTTP answers: `/metrics`, `/healthz`, `/readyz`."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from seqserve.repository import Repository


def build_app(repository: Repository, registry: CollectorRegistry) -> Starlette:
    """The ASGI application; it holds no state of its own."""

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"live": True})

    async def readyz(_: Request) -> Response:
        is_ready = repository.are_all_ready()
        models = [
            {"name": version.name, "version": version.version, "state": version.state.value}
            for version in repository.versions()
        ]
        return JSONResponse({"ready": is_ready, "models": models}, status_code=200 if is_ready else 503)

    return Starlette(
        routes=[Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)]
    )
