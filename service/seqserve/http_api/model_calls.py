"""Questions about one model: what it takes, whether it is ready, how it is batched and what it has done."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from seqserve.errors import ShuttingDown
from seqserve.http_api.boundary import Call
from seqserve.http_api.documents import ModelMetadata, ModelReady, TensorMetadata
from seqserve.http_api.server_calls import json_response
from seqserve.http_api.statistics import statistics_reply
from seqserve.oip_rules import model_config
from seqserve.predictor import Predictor
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelState, ReadyVersion
from seqserve.signature import TensorSpec
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
        bound = self._resolve(request)
        ready = [
            version.version
            for version in self._repository.versions_of(bound.name)
            if version.state is ModelState.READY
        ]
        return json_response(
            ModelMetadata(
                name=bound.name,
                versions=[bound.version] if "version" in request.path_params else ready,
                platform=bound.signature.platform,
                inputs=[_tensor(bound.signature.input)],
                outputs=[_tensor(bound.signature.output)],
            )
        )

    async def ready(self, request: Request, _: Call) -> Response:
        """200, or 503 for one that is not; in a drain none is."""
        name, version = _asked(request)
        self._resolve(request)
        if not self._repository.is_ready(name, version):
            raise ShuttingDown("the gateway is shutting down")
        return json_response(ModelReady(name=name, ready=True))

    async def config(self, request: Request, _: Call) -> Response:
        """Triton's ModelConfig as far as it holds here."""
        bound = self._resolve(request)
        largest = min(bound.batcher.max_batch_size, self.predictor.max_request_examples)
        return JSONResponse(model_config(bound.signature, largest, bound.batcher.max_queue_delay_seconds))

    async def stats(self, request: Request, _: Call) -> Response:
        """The counters of one version, of a model, or of all."""
        name, version = _asked(request)
        number = self._repository.routing(name).labels.get(version, version)
        return json_response(statistics_reply(self.statistics.find(name, number)))

    def _resolve(self, request: Request) -> ReadyVersion:
        return self._repository.resolve(*_asked(request))


def _asked(request: Request) -> tuple[str, str]:
    """Model and version of the path; "" where it names none."""
    return request.path_params.get("model", ""), request.path_params.get("version", "")


def _tensor(spec: TensorSpec) -> TensorMetadata:
    return TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)
