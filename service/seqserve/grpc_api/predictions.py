"""The gateway's own API over gRPC: `seqserve.v1.PredictionService`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from seqserve.engines.base import FloatArray
from seqserve.errors import InvalidRequest
from seqserve.grpc_api.boundary import Boundary, Call, Handler, Method
from seqserve.pb.v1 import prediction_pb2 as pb
from seqserve.predictor import Content, Prediction, Predictor, Request
from seqserve.repository import ModelState, ModelVersion
from seqserve.signature import Signature
from seqserve.tensors import RawTensor

SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"]
STATES = {
    ModelState.LOADING: pb.MODEL_STATE_LOADING,
    ModelState.READY: pb.MODEL_STATE_READY,
    ModelState.FAILED: pb.MODEL_STATE_FAILED,
}


@dataclass(frozen=True, slots=True)
class PredictionService:
    """Pictures or a tensor in, labels with probabilities out."""

    predictor: Predictor

    def handler(self, boundary: Boundary) -> Handler:
        """What a gRPC server registers."""
        methods: dict[str, Method] = {"Predict": self.predict, "ListModels": self.list_models}
        return boundary.handler(SERVICE, methods)

    async def predict(self, request: pb.PredictRequest, call: Call) -> pb.PredictResponse:
        """The k best labels and the whole output for each example."""
        prediction = await self.predictor.predict(
            Request(request.model, request.version, partial(_content, request), call.timeout_seconds)
        )
        return pb.PredictResponse(
            model=prediction.model,
            version=prediction.version,
            predictions=[_answer(row, prediction.signature, request.top_k or 1) for row in prediction.rows],
            receipt=_receipt(prediction, call.request_id),
        )

    async def list_models(self, _: pb.ListModelsRequest, __: Call) -> pb.ListModelsResponse:
        """Every version in the repository, with its state."""
        versions = self.predictor.repository.versions()
        return pb.ListModelsResponse(models=[_model(version) for version in versions])


def best_labels(row: FloatArray, count: int) -> list[int]:
    """Indices of the largest values of row [classes], best first; ties go to the lower index."""
    return [int(index) for index in np.argsort(-row, kind="stable")[:count]]


def _content(request: pb.PredictRequest, signature: Signature) -> Content:
    if request.top_k and signature.task != "classification":
        raise InvalidRequest(
            "TOP_K",
            field="top_k",
            came=request.top_k,
            accepted=f"0; {signature.name} gives values, not labels",
        )
    match request.WhichOneof("input"):
        case "images":
            return list(request.images.encoded)
        case "tensor":
            tensor = request.tensor
            return RawTensor(signature.input.name, tensor.datatype, tuple(tensor.shape), tensor.content)
    raise InvalidRequest("INPUT_MISSING", field="input", came="nothing", accepted="images or tensor")


def _answer(row: FloatArray, signature: Signature, count: int) -> pb.Prediction:
    values = row.ravel().tolist()
    if signature.task != "classification":
        return pb.Prediction(values=values)
    top = [
        pb.ScoredLabel(label=_label(signature.labels, index), index=index, probability=values[index])
        for index in best_labels(row, count)
    ]
    return pb.Prediction(top=top, values=values)


def _label(labels: Sequence[str], index: int) -> str:
    return labels[index] if labels else str(index)


def _receipt(prediction: Prediction, request_id: str) -> pb.Receipt:
    receipt = prediction.receipt
    return pb.Receipt(
        request_id=request_id,
        queue_ns=round(receipt.queue_seconds * 1e9),
        compute_ns=round(receipt.compute_seconds * 1e9),
        batch_size=receipt.batch_size,
        engine=receipt.engine,
        device=receipt.device,
        archive_sha256=receipt.archive_sha256,
    )


def _model(version: ModelVersion) -> pb.Model:
    model = pb.Model(
        name=version.name,
        version=version.version,
        state=STATES[version.state],
        reason=version.reason,
        archive_sha256=version.archive_sha256,
    )
    if version.signature is not None:
        model.task = version.signature.task
        model.input = version.signature.input.name
        model.labels.extend(version.signature.labels)
        model.example_shapes.extend(",".join(map(str, shape)) for shape in version.signature.layouts)
    return model
