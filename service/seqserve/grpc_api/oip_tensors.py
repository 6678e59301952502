"""Between OIP's tensor messages and our raw tensors: raw and typed contents, parameters, outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqserve.engines.base import FloatArray
from seqserve.errors import InvalidRequest
from seqserve.pb import inference_pb2 as pb
from seqserve.predictor import Receipt
from seqserve.signature import Signature
from seqserve.tensors import RawTensor

# Datatype → the contents field that carries it, and the little-endian type of our raw form.
# FP16 and BF16 have no typed form in the protocol.
TYPED: dict[str, tuple[str, str]] = {
    "FP32": ("fp32_contents", "<f4"),
    "INT8": ("int_contents", "<i1"),
    "INT16": ("int_contents", "<i2"),
    "UINT8": ("uint_contents", "<u1"),
    "UINT16": ("uint_contents", "<u2"),
    "BYTES": ("bytes_contents", ""),
}
TIMEOUT = "timeout"  # Triton's: microseconds
UNSUPPORTED_PARAMETERS = ("sequence_", "shared_memory_")


def input_tensor(request: pb.ModelInferRequest, signature: Signature) -> RawTensor:
    """The request's one input, whichever form it came in. Raises InvalidRequest."""
    _check_parameters(request)
    _check_input_names(request, signature)
    _check_output_names(request, signature)
    tensor = request.inputs[0]
    content = _content(request, tensor, signature.input.name)
    return RawTensor(tensor.name, tensor.datatype, tuple(tensor.shape), content)


def output_tensor(
    reply: pb.ModelInferResponse, rows: FloatArray, signature: Signature, *, is_raw: bool
) -> None:
    """Put rows [n, *output] into the reply, raw for raw and typed for typed."""
    tensor = reply.outputs.add(name=signature.output.name, datatype="FP32", shape=rows.shape)
    if is_raw:
        reply.raw_output_contents.append(rows.astype("<f4", copy=False).tobytes())
    else:
        tensor.contents.fp32_contents.extend(rows.ravel().tolist())


def put_receipt(reply: pb.ModelInferResponse, receipt: Receipt) -> None:
    """The receipt as OIP parameters."""
    parameters = reply.parameters
    parameters["seqserve_queue_ns"].int64_param = round(receipt.queue_seconds * 1e9)
    parameters["seqserve_compute_ns"].int64_param = round(receipt.compute_seconds * 1e9)
    parameters["seqserve_batch_size"].int64_param = receipt.batch_size
    parameters["seqserve_engine"].string_param = receipt.engine
    parameters["seqserve_device"].string_param = receipt.device
    parameters["seqserve_archive_sha256"].string_param = receipt.archive_sha256


def timeout_seconds(request: pb.ModelInferRequest, remaining: float | None) -> float | None:
    """The tighter of the call's deadline and Triton's `timeout` parameter, in seconds."""
    seconds = _timeout_microseconds(request) / 1e6
    if seconds <= 0:  # absent, or refused by `input_tensor`
        return remaining
    return seconds if remaining is None else min(seconds, remaining)


def _timeout_microseconds(request: pb.ModelInferRequest) -> int:
    if TIMEOUT not in request.parameters:  # indexing would create it
        return 0
    parameter = request.parameters[TIMEOUT]
    return parameter.int64_param or parameter.uint64_param


def _check_parameters(request: pb.ModelInferRequest) -> None:
    names = list(request.parameters)
    for tensor in request.inputs:
        names += tensor.parameters
    for output in request.outputs:
        names += output.parameters
    for name in names:
        if name.startswith(UNSUPPORTED_PARAMETERS):
            raise InvalidRequest(
                "PARAMETER_NOT_ACCEPTED", field=f"parameters.{name}", came=name,
                accepted="no sequence_* and no shared_memory_* parameters",
            )  # fmt: skip
    if TIMEOUT in request.parameters and _timeout_microseconds(request) <= 0:
        raise InvalidRequest(
            "PARAMETER_NOT_ACCEPTED", field="parameters.timeout", came=request.parameters[TIMEOUT],
            accepted="a positive number of microseconds",
        )  # fmt: skip


def _check_input_names(request: pb.ModelInferRequest, signature: Signature) -> None:
    names = [tensor.name for tensor in request.inputs]
    if names != [signature.input.name]:
        raise InvalidRequest(
            "INPUT_NAME", field="inputs", came=names or "no input",
            accepted=f"exactly one input, named {signature.input.name!r}",
        )  # fmt: skip


def _check_output_names(request: pb.ModelInferRequest, signature: Signature) -> None:
    names = [tensor.name for tensor in request.outputs]
    if names not in ([], [signature.output.name]):
        raise InvalidRequest(
            "OUTPUT_NAME", field="outputs", came=names,
            accepted=f"none, or {signature.output.name!r} once",
        )  # fmt: skip


def _content(
    request: pb.ModelInferRequest, tensor: pb.ModelInferRequest.InferInputTensor, name: str
) -> bytes:
    if not request.raw_input_contents:
        return _typed_content(tensor)
    if len(request.raw_input_contents) != 1 or tensor.HasField("contents"):
        raise InvalidRequest(
            "RAW_CONTENTS", field=name,
            came=f"{len(request.raw_input_contents)} raw_input_contents"
            + (" beside contents" if tensor.HasField("contents") else ""),
            accepted="one raw_input_contents entry and no contents, or contents alone",
        )  # fmt: skip
    return request.raw_input_contents[0]


def _typed_content(tensor: pb.ModelInferRequest.InferInputTensor) -> bytes:
    filled = [field.name for field, _ in tensor.contents.ListFields()]
    if tensor.datatype not in TYPED:
        # The decoder refuses the datatype; FP16 and BF16 it would take, but only raw.
        if tensor.datatype in ("FP16", "BF16"):
            raise _typed_fault(tensor, filled, "raw_input_contents for this datatype")
        return b""
    field, little_endian = TYPED[tensor.datatype]
    if filled not in ([], [field]):
        raise _typed_fault(tensor, filled, f"{field} for {tensor.datatype}")
    values = getattr(tensor.contents, field)
    if tensor.datatype == "BYTES":
        return b"".join(len(value).to_bytes(4, "little") + value for value in values)
    return _pack(tensor, values, little_endian)


def _pack(
    tensor: pb.ModelInferRequest.InferInputTensor, values: Sequence[float], little_endian: str
) -> bytes:
    wide = np.asarray(values)
    if little_endian != "<f4" and len(wide):
        bounds = np.iinfo(little_endian)
        outside = wide[(wide < bounds.min) | (wide > bounds.max)]
        if len(outside):
            raise InvalidRequest(
                "OUT_OF_RANGE", field=tensor.name, came=outside[0],
                accepted=f"{bounds.min} to {bounds.max} for {tensor.datatype}",
            )  # fmt: skip
    return wide.astype(little_endian).tobytes()


def _typed_fault(
    tensor: pb.ModelInferRequest.InferInputTensor, filled: list[str], accepted: str
) -> InvalidRequest:
    came = f"{tensor.datatype} in {', '.join(filled) or 'no contents'}"
    return InvalidRequest("CONTENTS_FIELD", field=tensor.name, came=came, accepted=accepted)
