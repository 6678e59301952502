"""Every call of the protocol that the HTTP port answers: routes and OpenAPI are made from this table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from starlette.routing import Route

from seqserve.client_settings import Scope
from seqserve.http_api import documents as kinds
from seqserve.http_api.boundary import Boundary, Handler, Terms
from seqserve.http_api.infer import Infer
from seqserve.http_api.model_calls import ModelCalls
from seqserve.http_api.repository_calls import RepositoryCalls
from seqserve.http_api.server_calls import ServerCalls

Kind = type[kinds.Document]
_MODEL = "/v2/models/{model}"
_VERSION = "/versions/{version}"
_NOT_HERE = (404, 503)
_READING = (400, 413, 415, 429, 504)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    scope: what callers need where there are clients; None: nothing. is_inference: it counts as such.
    body, reply: the documents of request and answer. codes: beside 200 and 500, and those of access.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    scope: Scope | None
    reply: Kind | None = None
    body: Kind | None = None
    codes: Sequence[int] = ()
    is_inference: bool = False

    @property
    def name(self) -> str:
        """As spans and logs have it."""
        return f"{self.method} {self.path}"

    def route(self, boundary: Boundary) -> Route:
        """For Starlette."""
        endpoint = boundary.endpoint(self.name, Terms(self.scope, self.is_inference), self.handler)
        return Route(self.path, endpoint, methods=[self.method])


def server_operations(calls: ServerCalls) -> list[Operation]:
    """About the server."""
    return [
        Operation(
            "GET", "/v2", "Name, version and extensions.", calls.metadata, "inference", kinds.ServerMetadata
        ),
        Operation(
            "GET", "/v2/health/live", "Whether the process lives.", calls.live, None, kinds.ServerLive
        ),
        Operation(
            "GET", "/v2/health/ready", "Whether the gateway serves.", calls.ready, None, kinds.ServerReady,
            codes=(503,),
        ),
        Operation("GET", "/v2/models", "Every model's name.", calls.models, "inference", kinds.ModelNames),
    ]  # fmt: skip


def model_operations(calls: ModelCalls, infer: Infer) -> list[Operation]:
    """About the models, each with and without a version in the path."""
    stats = Operation(
        "GET", "/v2/models/stats", "The counters of every version.", calls.stats, "inference",
        kinds.StatisticsReply,
    )  # fmt: skip
    of_one = [
        Operation(
            "POST", f"{_MODEL}/infer", "One example or many.", infer.answer, "inference", kinds.InferReply,
            kinds.InferRequest, codes=(*_NOT_HERE, *_READING), is_inference=True,
        ),
        Operation(
            "GET", _MODEL, "What a model takes and gives.", calls.metadata, "inference",
            kinds.ModelMetadata, codes=_NOT_HERE,
        ),
        Operation(
            "GET", f"{_MODEL}/ready", "Whether a model serves.", calls.ready, "inference",
            kinds.ModelReady, codes=_NOT_HERE,
        ),
        Operation(
            "GET", f"{_MODEL}/config", "How a model is batched.", calls.config, "inference",
            codes=_NOT_HERE,
        ),
        Operation(
            "GET", f"{_MODEL}/stats", "A model's counters.", calls.stats, "inference",
            kinds.StatisticsReply, codes=(404,),
        ),
    ]  # fmt: skip
    return [stats, *(twin for operation in of_one for twin in _with_and_without_version(operation))]


def repository_operations(calls: RepositoryCalls) -> list[Operation]:
    """About the repository, where administration is on."""
    model = "/v2/repository/models/{model}"
    codes = (404, 409, 503, *_READING)
    return [
        Operation(
            "POST", "/v2/repository/index", "Every version and its state.", calls.index, "admin",
            body=kinds.IndexRequest, codes=_READING,
        ),
        Operation(
            "POST", f"{model}/load", "Load a model's versions.", calls.load, "admin",
            body=kinds.LoadRequest, codes=codes,
        ),
        Operation(
            "POST", f"{model}/unload", "Unload them.", calls.unload, "admin",
            body=kinds.UnloadRequest, codes=codes,
        ),
    ]  # fmt: skip


def _with_and_without_version(operation: Operation) -> Iterator[Operation]:
    yield operation
    path = operation.path.replace(_MODEL, f"{_MODEL}{_VERSION}")
    yield replace(operation, path=path, summary=f"{operation.summary} Of one version or label.")
