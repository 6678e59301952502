"""The gateway's own API over gRPC: `seqserve.v1.PredictionService`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from google.rpc import status_pb2

from seqserve.classification import best_indices
from seqserve.engines.base import FloatArray
from seqserve.errors import InvalidRequest
from seqserve.grpc_api.boundary import Boundary, Call, Handler, Method, StreamMethod
from seqserve.grpc_api.descriptions import describe_all, describe_one
from seqserve.pb.v1 import prediction_pb2 as pb
from seqserve.predictor import Content, Prediction, Predictor, Request
from seqserve.signature import Signature
from seqserve.tensors import RawTensor

SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"]


@dataclass(frozen=True, slots=True)
class PredictionService:
    """Pictures or a tensor in, labels with probabilities out."""

    predictor: Predictor

    def handler(self, boundary: Boundary) -> Handler:
        """What a gRPC server registers."""
        methods: dict[str, Method] = {
            "Predict": self.predict,
            "ListModels": self.list_models,
            "GetModel": self.get_model,
        }
        streams = {
            "PredictStream": StreamMethod(
                self.predict_in_stream, on_error=_error_reply, id_of=lambda request: request.id
            )
        }
        return boundary.handler(SERVICE, methods, streams)

    async def predict(self, request: pb.PredictRequest, call: Call) -> bytes:
        """The k best labels and the whole output for each example."""
        prediction = await self._predict(request, call)
        with _encoding(prediction):
            return _reply(prediction, request.top_k or 1, call.request_id).SerializeToString()

    async def predict_in_stream(self, request: pb.PredictRequest, call: Call) -> bytes:
        """The same for one message of a stream."""
        prediction = await self._predict(request, call)
        with _encoding(prediction):
            response = _reply(prediction, request.top_k or 1, call.request_id)
            return pb.PredictStreamResponse(id=request.id, response=response).SerializeToString()

    async def list_models(self, _: pb.ListModelsRequest, __: Call) -> pb.ListModelsResponse:
        """Every version in the repository, with its state."""
        return describe_all(self.predictor.repository)

    async def get_model(self, request: pb.GetModelRequest, _: Call) -> pb.GetModelResponse:
        """All of one model. Raises ModelNotFound."""
        return describe_one(self.predictor.repository, request.model)

    async def _predict(self, request: pb.PredictRequest, call: Call) -> Prediction:
        return await self.predictor.predict(
            Request(
                model=request.model,
                version=request.version,
                content=partial(_content, request),
                timeout_seconds=call.timeout_seconds,
                request_id=call.canary_key(request.id),
                asker=call,
            )
        )


@contextmanager
def _encoding(prediction: Prediction) -> Iterator[None]:
    """Tells how long the block took to make the reply's bytes."""
    started = time.perf_counter()
    yield
    prediction.observer.request_encoded(time.perf_counter() - started)


def _error_reply(request: pb.PredictRequest | None, status: status_pb2.Status) -> pb.PredictStreamResponse:
    return pb.PredictStreamResponse(id=request.id if request else "", error=status)


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


def _reply(prediction: Prediction, count: int, request_id: str) -> pb.PredictResponse:
    return pb.PredictResponse(
        model=prediction.model,
        version=prediction.version,
        predictions=[_answer(row, prediction.signature, count) for row in prediction.rows],
        receipt=_receipt(prediction, request_id),
    )


def _answer(row: FloatArray, signature: Signature, count: int) -> pb.Prediction:
    values = row.ravel().tolist()
    if signature.task != "classification":
        return pb.Prediction(values=values)
    top = [
        pb.ScoredLabel(label=_label(signature.labels, index), index=index, probability=values[index])
        for index in best_indices(row, count)
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
