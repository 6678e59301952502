"""The model repository extension: what is there, and loading and unloading it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from seqserve.errors import DeadlineExceeded
from seqserve.http_api.body import read_body
from seqserve.http_api.boundary import Call
from seqserve.http_api.documents import Document, IndexRequest, LoadRequest, UnloadRequest, read_document
from seqserve.http_api.limits import Buffered, HttpLimits
from seqserve.http_api.strict_json import LONG_BYTES, parse_object
from seqserve.oip_answers import repository_index
from seqserve.oip_rules import check_load_parameters
from seqserve.repository.table import ModelControl, Repository

D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True)
class RepositoryCalls:
    """Index, load and unload."""

    repository: Repository
    control: ModelControl
    limits: HttpLimits
    buffered: Buffered

    async def index(self, request: Request, _: Call) -> Response:
        """Every version, or those that are ready. Raises InvalidRequest."""
        asked = await self._read(IndexRequest, request)
        return JSONResponse(repository_index(self.repository, is_ready_only=bool(asked.ready)))

    async def load(self, request: Request, _: Call) -> Response:
        """See ModelControl.load. Raises InvalidRequest."""
        asked = await self._read(LoadRequest, request)
        check_load_parameters(asked.parameters or ())
        await self.control.load(request.path_params["model"])
        return JSONResponse({})

    async def unload(self, request: Request, _: Call) -> Response:
        """See ModelControl.unload; parameters are ignored: no model here depends on another."""
        await self._read(UnloadRequest, request)
        await self.control.unload(request.path_params["model"])
        return JSONResponse({})

    async def _read(self, kind: type[D], request: Request) -> D:
        """The request's document; an empty body is an empty one."""
        seconds = self.limits.body_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                with self.buffered.share() as share:
                    body = await read_body(request, LONG_BYTES, share)
        except TimeoutError as error:
            raise DeadlineExceeded(f"the body was not there within {seconds:g} s") from error
        return read_document(kind, parse_object(bytes(body)) if body.strip() else {})
