"""Requests and refusals of the Open Inference Protocol, for tests."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from seqserve.pb import inference_pb2 as pb
from seqserve.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from seqserve.pb.v1.prediction_pb2_grpc import PredictionServiceStub

DETAILS = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (error_details_pb2.BadRequest, error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo)
}


def infer_request(
    rows: npt.ArrayLike, *, model: str = "tiny", version: str = "", name: str = "image", **fields: Any
) -> pb.ModelInferRequest:
    """One FP32 input in raw form."""
    array = np.asarray(rows, "<f4")
    request = pb.ModelInferRequest(model_name=model, model_version=version, **fields)
    request.inputs.add(name=name, datatype="FP32", shape=array.shape)
    request.raw_input_contents.append(array.tobytes())
    return request


def rows_of(reply: pb.ModelInferResponse) -> npt.NDArray[np.float32]:
    """The reply's one output, from raw or typed form."""
    shape = tuple(reply.outputs[0].shape)
    if reply.raw_output_contents:
        return np.frombuffer(reply.raw_output_contents[0], "<f4").reshape(shape)
    return np.asarray(reply.outputs[0].contents.fp32_contents, np.float32).reshape(shape)


def inference_stub(channel: grpc.Channel | grpc.aio.Channel) -> GRPCInferenceServiceStub:
    """A client of the Open Inference Protocol."""
    return GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]  # generated


def prediction_stub(channel: grpc.aio.Channel | grpc.Channel) -> PredictionServiceStub:
    """A client of our own API."""
    return PredictionServiceStub(channel)  # type: ignore[no-untyped-call]  # generated


async def send_bytes(channel: grpc.aio.Channel, method: str, body: bytes) -> bytes:
    """Call a method with bytes that may be no message of it."""
    reply: bytes = await channel.unary_unary(method, None, None)(body)
    return reply


def words_of(error: grpc.aio.AioRpcError) -> str:
    """What a refusal says to a person."""
    return error.details() or ""


def details_of(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """google.rpc details of a refusal by short name: BadRequest, ErrorInfo, RetryInfo."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it takes aio's errors as well
    found: dict[str, Any] = {}
    for packed in status.details if status else ():
        message = DETAILS[packed.type_url.rpartition("/")[2]]()
        packed.Unpack(message)
        found[type(message).__name__] = message
    return found
