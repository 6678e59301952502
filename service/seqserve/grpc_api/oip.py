"""Open Inference Protocol v2 over gRPC: `inference.GRPCInferenceService`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from seqserve import __version__
from seqserve.grpc_api.boundary import Boundary, Call, Handler, Method
from seqserve.grpc_api.oip_tensors import input_tensor, output_tensor, put_receipt, timeout_seconds
from seqserve.pb import inference_pb2 as pb
from seqserve.predictor import Predictor, Request
from seqserve.repository import ModelState, Repository
from seqserve.signature import TensorSpec

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]


@dataclass(frozen=True, slots=True)
class InferenceService:
    """OIP's methods over our predictor and repository."""

    predictor: Predictor

    @property
    def _repository(self) -> Repository:
        return self.predictor.repository

    def handler(self, boundary: Boundary) -> Handler:
        """What a gRPC server registers."""
        methods: dict[str, Method] = {
            "ServerLive": self.server_live,
            "ServerReady": self.server_ready,
            "ModelReady": self.model_ready,
            "ServerMetadata": self.server_metadata,
            "ModelMetadata": self.model_metadata,
            "ModelInfer": self.model_infer,
        }
        return boundary.handler(SERVICE, methods)

    async def server_live(self, _: pb.ServerLiveRequest, __: Call) -> pb.ServerLiveResponse:
        """The process answers, so it lives."""
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, _: pb.ServerReadyRequest, __: Call) -> pb.ServerReadyResponse:
        """See Repository.are_all_ready."""
        return pb.ServerReadyResponse(ready=self._repository.are_all_ready())

    async def model_ready(self, request: pb.ModelReadyRequest, _: Call) -> pb.ModelReadyResponse:
        """False for a model that is not here."""
        return pb.ModelReadyResponse(ready=self._repository.is_ready(request.name, request.version))

    async def server_metadata(self, _: pb.ServerMetadataRequest, __: Call) -> pb.ServerMetadataResponse:
        """Name and version; no extensions yet."""
        return pb.ServerMetadataResponse(name="seqserve", version=__version__)

    async def model_metadata(self, request: pb.ModelMetadataRequest, _: Call) -> pb.ModelMetadataResponse:
        """What the model takes and gives. Raises NotFound, ModelNotReady."""
        bound = self._repository.resolve(request.name, request.version)
        ready = [
            version.version
            for version in self._repository.versions()
            if version.name == bound.name and version.state is ModelState.READY
        ]
        return pb.ModelMetadataResponse(
            name=bound.name,
            versions=[bound.version] if request.version else ready,
            platform=bound.signature.platform,
            inputs=[_metadata(bound.signature.input)],
            outputs=[_metadata(bound.signature.output)],
        )

    async def model_infer(self, request: pb.ModelInferRequest, call: Call) -> pb.ModelInferResponse:
        """Rows in, rows out, with a receipt in the parameters."""
        prediction = await self.predictor.predict(
            Request(
                model=request.model_name,
                version=request.model_version,
                content=partial(input_tensor, request),
                timeout_seconds=timeout_seconds(request, call.timeout_seconds),
            )
        )
        reply = pb.ModelInferResponse(
            model_name=prediction.model, model_version=prediction.version, id=request.id
        )
        output_tensor(reply, prediction.rows, prediction.signature, is_raw=bool(request.raw_input_contents))
        put_receipt(reply, prediction.receipt)
        return reply


def _metadata(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)
