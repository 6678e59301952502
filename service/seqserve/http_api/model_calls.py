"""Questions about one model: what it takes, whether it is ready, how it is batched and what it has done."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from seqserve import oip_answers
from seqserve.errors import ShuttingDown
from seqserve.http_api.boundary import Call
from seqserve.http_api.documents import ModelMetadata, ModelReady, StatisticsReply
from seqserve.http_api.server_calls import json_response
from seqserve.predictor import Predictor
from seqserve.repository.table import Repository
from seqserve.statistics import Statistics


@dataclass(frozen=True, slots=True)
class ModelCalls:
    """Answers about the models of the repository. All of them raise NotFound and ModelNotReady."""

    predictor: Predictor
    statistics: Statistics

    @property
    def _repository(self) -> Repository:
        return self.predictor.repository

    async def metadata(self, request: Request, _: Call) -> Response:
        """Inputs, outputs, and the version that was asked about or all that are ready."""
        document = oip_answers.model_metadata(self._repository, *_asked(request))
        return json_response(ModelMetadata.model_validate(document))

    async def ready(self, request: Request, _: Call) -> Response:
        """200, or 503 for one that is not; in a drain none is."""
        name, version = _asked(request)
        self._repository.resolve(name, version)
        if not self._repository.is_ready(name, version):
            raise ShuttingDown("the gateway is shutting down")
        return json_response(ModelReady(name=name, ready=True))

    async def config(self, request: Request, _: Call) -> Response:
        """Triton's ModelConfig as far as it holds here."""
        largest = self.predictor.max_request_examples
        return JSONResponse(oip_answers.model_config(self._repository, *_asked(request), largest))

    async def stats(self, request: Request, _: Call) -> Response:
        """The counters of one version, of a model, or of all."""
        document = oip_answers.model_statistics(self._repository, self.statistics, *_asked(request))
        return json_response(StatisticsReply.model_validate(document))


def _asked(request: Request) -> tuple[str, str]:
    """Model and version of the path; "" where it names none."""
    return request.path_params.get("model", ""), request.path_params.get("version", "")
