"""Questions about the server itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from seqserve import __version__
from seqserve.http_api.boundary import Call
from seqserve.http_api.documents import Document, ModelNames, ServerLive, ServerMetadata, ServerReady
from seqserve.oip_answers import SERVER
from seqserve.repository.table import Repository


def json_response(document: Document, code: int = 200) -> Response:
    """A document as an answer."""
    return Response(document.model_dump_json(exclude_none=True), code, media_type="application/json")


@dataclass(frozen=True, slots=True)
class ServerCalls:
    """Whether the server lives and is ready, what it is and what it has.

    extensions: of the protocol, those that this port serves in full.
    """

    repository: Repository
    extensions: Sequence[str]

    async def live(self, _: Request, __: Call) -> Response:
        """The process answers, so it lives."""
        return json_response(ServerLive(live=True))

    async def ready(self, _: Request, __: Call) -> Response:
        """See Repository.are_all_ready; 503 where it is not."""
        is_ready = self.repository.are_all_ready()
        return json_response(ServerReady(ready=is_ready), 200 if is_ready else 503)

    async def metadata(self, _: Request, __: Call) -> Response:
        """Name, version, extensions."""
        return json_response(
            ServerMetadata(name=SERVER, version=__version__, extensions=list(self.extensions))
        )

    async def models(self, _: Request, __: Call) -> Response:
        """Every model's name."""
        return json_response(ModelNames(models=self.repository.names()))
