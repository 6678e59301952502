"""The HTTP port as an ASGI application: the protocol, its OpenAPI document, probes and metrics."""

from __future__ import annotations

import json

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from seqserve.access.gate import Gate
from seqserve.batching.ledgers import ReadCounts, no_counts
from seqserve.http_api import binary_extension
from seqserve.http_api.boundary import Boundary
from seqserve.http_api.infer import Infer
from seqserve.http_api.limits import Buffered, HttpLimits
from seqserve.http_api.model_calls import ModelCalls
from seqserve.http_api.openapi import openapi
from seqserve.http_api.operations import (
    Operation,
    model_operations,
    repository_operations,
    server_operations,
)
from seqserve.http_api.probes import Probes
from seqserve.http_api.repository_calls import RepositoryCalls
from seqserve.http_api.server_calls import ServerCalls
from seqserve.metrics.relay import Relay
from seqserve.oip_answers import EXTENSIONS, REPOSITORY_EXTENSION
from seqserve.predictor import Predictor
from seqserve.repository.table import ModelControl
from seqserve.statistics import Statistics
from seqserve.tracing import Tracing


def build_app(
    predictor: Predictor,
    statistics: Statistics,
    registry: CollectorRegistry,
    relay: Relay,
    *,
    limits: HttpLimits,
    tracing: Tracing,
    gate: Gate,
    control: ModelControl | None = None,
    read_counts: ReadCounts = no_counts,
) -> Starlette:
    """The application.

    gate: knows who may call what. read_counts: what metrics are to add to their own.
    control: where the model repository extension is to be served on this port as well.
    """
    operations = _operations(predictor, statistics, limits, control)
    boundary = Boundary(tracing, gate)
    routes = [
        *(operation.route(boundary) for operation in operations),
        *Probes(predictor.repository, registry, relay, boundary, read_counts).routes(),
        _openapi_route(operations, boundary),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: boundary.unknown_path})
    app.router.redirect_slashes = False
    return app


def _operations(
    predictor: Predictor, statistics: Statistics, limits: HttpLimits, control: ModelControl | None
) -> list[Operation]:
    repository, buffered = predictor.repository, Buffered(limits.max_buffered_bytes)
    extensions = [*EXTENSIONS, binary_extension.EXTENSION]
    if control is not None:
        extensions.append(REPOSITORY_EXTENSION)
    # Starlette looks for a route from the first on, and most calls are inferences.
    found = model_operations(ModelCalls(predictor, statistics), Infer(predictor, limits, buffered))
    found += server_operations(ServerCalls(repository, extensions))
    if control is not None:
        found += repository_operations(RepositoryCalls(repository, control, limits, buffered))
    return found


def _openapi_route(operations: list[Operation], boundary: Boundary) -> Route:
    document = json.dumps(openapi(operations))

    async def answer(_: Request) -> Response:
        return Response(document, media_type="application/json")

    return Route("/openapi.json", boundary.guarded("inference", answer))
