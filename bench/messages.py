"""Requests and replies of the Open Inference Protocol, with rows whose answers are known.

The rows are an archive's golden ones, over and over, so what must come back is known from the model as it
was before it was packed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from bench.load import WrongAnswer
from seqserve.archive import read_archive
from seqserve.engines.base import FloatArray
from seqserve.golden import tolerance_on
from seqserve.pb import inference_pb2
from seqserve.trust import UNCHECKED

SERVICE = "/inference.GRPCInferenceService"
MODEL_INFER = f"{SERVICE}/ModelInfer"
MODEL_STREAM_INFER = f"{SERVICE}/ModelStreamInfer"


@dataclass(frozen=True, slots=True)
class Rows:
    """Of one model: inputs [n, *example] and what it must answer, outputs [n, *output], both FP32."""

    model: str
    inputs: FloatArray
    outputs: FloatArray
    input_name: str = "image"

    def check(self, answered: FloatArray) -> None:
        """Compare as the gateway's golden check does. Raises WrongAnswer."""
        if answered.shape != self.outputs.shape:
            raise WrongAnswer(f"rows of shape {answered.shape}, not {self.outputs.shape}")
        tolerance = tolerance_on("cpu")
        if not np.allclose(answered, self.outputs, rtol=tolerance.relative, atol=tolerance.absolute):
            raise WrongAnswer(f"off by up to {np.abs(answered - self.outputs).max():.3g}")


def golden_rows(archive: Path, count: int) -> Rows:
    """The first rows of an endless repetition of the archive's golden ones. Raises ArchiveInvalid."""
    packed = read_archive(archive, UNCHECKED)
    index = np.arange(count) % len(packed.golden_inputs)
    return Rows(
        packed.name, packed.golden_inputs[index], packed.golden_outputs[index], packed.signature.input.name
    )


def infer_request(rows: Rows) -> bytes:
    """A ModelInferRequest with raw contents."""
    request = inference_pb2.ModelInferRequest(model_name=rows.model)
    request.inputs.add(name=rows.input_name, datatype="FP32", shape=rows.inputs.shape)
    request.raw_input_contents.append(rows.inputs.astype("<f4").tobytes())
    return request.SerializeToString()


def read_reply(reply: bytes) -> FloatArray:
    """Rows [n, *output] of a ModelInferResponse. Raises WrongAnswer."""
    try:
        return _rows_of(inference_pb2.ModelInferResponse.FromString(reply))
    except (DecodeError, IndexError, ValueError) as error:
        raise WrongAnswer(f"no rows in a reply of {len(reply)} bytes: {error}") from error


def read_stream_reply(reply: bytes) -> FloatArray:
    """Rows [n, *output] of a ModelStreamInferResponse. Raises WrongAnswer."""
    answer = inference_pb2.ModelStreamInferResponse.FromString(reply)
    if answer.error_message:
        raise WrongAnswer(f"an error on the stream: {answer.error_message}")
    return read_reply(answer.infer_response.SerializeToString())


def _rows_of(answer: inference_pb2.ModelInferResponse) -> FloatArray:
    values = np.frombuffer(answer.raw_output_contents[0], "<f4")
    return values.reshape(answer.outputs[0].shape)
