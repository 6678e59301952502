"""Open Inference Protocol v2 over gRPC: `inference.GRPCInferenceService`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.rpc import status_pb2

from seqserve import oip_answers
from seqserve.grpc_api.boundary import Boundary, Call, Handler, Method, StreamMethod
from seqserve.grpc_api.oip_repository import RepositoryMethods
from seqserve.grpc_api.oip_server import ServerMethods
from seqserve.grpc_api.oip_tensors import input_tensor, put_answer, timeout_seconds
from seqserve.pb import inference_pb2 as pb
from seqserve.predictor import Prediction, Predictor, Request
from seqserve.repository.table import ModelControl, Repository
from seqserve.statistics import Statistics

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
FINAL_RESPONSE = "triton_final_response"
"""Triton marks the last reply to a request of a stream; here each is the only one."""


@dataclass(frozen=True, slots=True)
class InferenceService:
    """OIP's methods over our predictor and repository.

    control: where the model repository extension is to be served on this port as well.
    """

    predictor: Predictor
    statistics: Statistics
    control: ModelControl | None = None

    @property
    def _repository(self) -> Repository:
        return self.predictor.repository

    def handler(self, boundary: Boundary) -> Handler:
        """What a gRPC server registers."""
        extensions, methods = list(oip_answers.EXTENSIONS), self._methods()
        if self.control is not None:
            extensions.append(oip_answers.REPOSITORY_EXTENSION)
            methods |= RepositoryMethods(self._repository, self.control).methods()
        methods |= ServerMethods(self._repository, extensions).methods()
        stream = StreamMethod(
            self.model_stream_infer, on_error=_error_reply, id_of=lambda request: request.id
        )
        return boundary.handler(SERVICE, methods, {"ModelStreamInfer": stream})

    def _methods(self) -> dict[str, Method]:
        return {
            "ModelReady": self.model_ready,
            "ModelMetadata": self.model_metadata,
            "ModelConfig": self.model_config,
            "ModelStatistics": self.model_statistics,
            "ModelInfer": self.model_infer,
        }

    async def model_ready(self, request: pb.ModelReadyRequest, _: Call) -> pb.ModelReadyResponse:
        """False for a model that is not here."""
        return pb.ModelReadyResponse(ready=self._repository.is_ready(request.name, request.version))

    async def model_metadata(self, request: pb.ModelMetadataRequest, _: Call) -> pb.ModelMetadataResponse:
        """What the model takes and gives. Raises NotFound, ModelNotReady."""
        document = oip_answers.model_metadata(self._repository, request.name, request.version)
        return pb.ModelMetadataResponse(**document)

    async def model_config(self, request: pb.ModelConfigRequest, _: Call) -> pb.ModelConfigResponse:
        """How the model is batched. Raises NotFound, ModelNotReady."""
        largest = self.predictor.max_request_examples
        document = oip_answers.model_config(self._repository, request.name, request.version, largest)
        return pb.ModelConfigResponse(config=ParseDict(document, pb.ModelConfig()))

    async def model_statistics(
        self, request: pb.ModelStatisticsRequest, _: Call
    ) -> pb.ModelStatisticsResponse:
        """The counters of one version, of a model or of all. Raises NotFound."""
        document = oip_answers.model_statistics(
            self._repository, self.statistics, request.name, request.version
        )
        return pb.ModelStatisticsResponse(**document)

    async def model_infer(self, request: pb.ModelInferRequest, call: Call) -> bytes:
        """Rows in, rows out, with a receipt in the parameters."""
        prediction = await self._predict(request, call)
        reply = pb.ModelInferResponse()
        return _encoded(reply, reply, request, prediction)

    async def model_stream_infer(self, request: pb.ModelInferRequest, call: Call) -> bytes:
        """The same for one message of a stream."""
        prediction = await self._predict(request, call)
        reply = pb.ModelStreamInferResponse()
        reply.infer_response.parameters[FINAL_RESPONSE].bool_param = True
        return _encoded(reply, reply.infer_response, request, prediction)

    async def _predict(self, request: pb.ModelInferRequest, call: Call) -> Prediction:
        return await self.predictor.predict(
            Request(
                model=request.model_name,
                version=request.model_version,
                content=partial(input_tensor, request),
                timeout_seconds=timeout_seconds(request, call.timeout_seconds),
                request_id=call.canary_key(request.id),
                asker=call,
            )
        )


def _encoded(
    message: Message, reply: pb.ModelInferResponse, request: pb.ModelInferRequest, prediction: Prediction
) -> bytes:
    """A message's bytes, once the reply that is the message or a part of it is filled; told as encoding."""
    started = time.perf_counter()
    put_answer(reply, request, prediction)
    body = message.SerializeToString()
    prediction.observer.request_encoded(time.perf_counter() - started)
    return body


def _error_reply(
    request: pb.ModelInferRequest | None, status: status_pb2.Status
) -> pb.ModelStreamInferResponse:
    reply = pb.ModelStreamInferResponse(error_message=status.message)
    reply.infer_response.id = request.id if request else ""
    return reply
