"""Between OIP's tensor messages and our raw tensors: raw and typed contents, parameters, outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, islice

import numpy as np

from seqserve import classification, oip_rules
from seqserve.errors import InvalidRequest
from seqserve.oip_answers import receipt_parameters
from seqserve.oip_rules import (
    TIMEOUT,
    check_input_names,
    check_output_names,
    check_parameter_names,
    check_timeout,
)
from seqserve.pb import inference_pb2 as pb
from seqserve.predictor import Prediction, Receipt
from seqserve.signature import Signature
from seqserve.tensors import RawTensor, join_bytes

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
NAMES_SHOWN = 5
"""Of tensors that are too many."""
DIMENSIONS_SHOWN = 1000
"""Of a shape that has too many by far; nobody copies millions of them to refuse them."""
MAX_TYPED_ELEMENTS = 2**16
"""BYTES elements in a message; their raw form is cheaper to read and has no such bound."""
NO_VALUE = "no value"
"""A parameter that is there and empty."""


def input_tensor(request: pb.ModelInferRequest, signature: Signature) -> RawTensor:
    """The request's one input, whichever form it came in, of a request that asks for what there is.

    Raises InvalidRequest, and nothing else, whatever the request holds.
    """
    if not _is_plain(request, signature):
        _check(request, signature)
    tensor = request.inputs[0]
    content = _content(request, tensor, signature.input.name)
    shape = tuple(islice(tensor.shape, DIMENSIONS_SHOWN))
    return RawTensor(tensor.name, tensor.datatype, shape, content)


def _is_plain(request: pb.ModelInferRequest, signature: Signature) -> bool:
    """Whether it holds one input by the right name, and nothing that would have to be checked."""
    inputs = request.inputs
    if len(inputs) != 1 or request.outputs or request.parameters:
        return False
    return inputs[0].name == signature.input.name and not inputs[0].parameters


def _check(request: pb.ModelInferRequest, signature: Signature) -> None:
    """Raises InvalidRequest."""
    # Names come first: whoever sends a million tensors is refused before anybody walks over them.
    check_input_names([tensor.name for tensor in islice(request.inputs, NAMES_SHOWN)], signature)
    check_output_names([output.name for output in islice(request.outputs, NAMES_SHOWN)], signature)
    of_inputs = (tensor.parameters for tensor in request.inputs)
    of_outputs = (output.parameters for output in request.outputs)
    check_parameter_names(chain(request.parameters, *of_inputs, *of_outputs))
    check_timeout(_value(request.parameters, TIMEOUT))
    _class_count(request, signature)


def put_answer(reply: pb.ModelInferResponse, request: pb.ModelInferRequest, prediction: Prediction) -> None:
    """Fill a reply: who answered, the output in the request's form, the receipt."""
    reply.model_name, reply.model_version, reply.id = prediction.model, prediction.version, request.id
    is_raw = bool(request.raw_input_contents)
    count = _class_count(request, prediction.signature)
    if count is None:
        _put_rows(reply, prediction, is_raw=is_raw)
    else:
        _put_classes(reply, prediction, count, is_raw=is_raw)
    _put_receipt(reply, prediction.receipt)


def timeout_seconds(request: pb.ModelInferRequest, remaining: float | None) -> float | None:
    """The tighter of the call's deadline and Triton's `timeout` parameter, in seconds."""
    return oip_rules.timeout_seconds(_value(request.parameters, TIMEOUT), remaining)


def _put_rows(reply: pb.ModelInferResponse, prediction: Prediction, *, is_raw: bool) -> None:
    """Rows [n, *output] as FP32."""
    rows = prediction.rows
    tensor = reply.outputs.add(name=prediction.signature.output.name, datatype="FP32", shape=rows.shape)
    if is_raw:
        reply.raw_output_contents.append(rows.astype("<f4", copy=False).tobytes())
    else:
        tensor.contents.fp32_contents.extend(rows.ravel().tolist())


def _put_classes(reply: pb.ModelInferResponse, prediction: Prediction, count: int, *, is_raw: bool) -> None:
    """The best classes as BYTES [n, min(count, classes)]."""
    signature = prediction.signature
    ranked = classification.ranked(prediction.rows, count, signature.labels)
    elements = [element for row in ranked for element in row]
    tensor = reply.outputs.add(
        name=signature.output.name, datatype="BYTES", shape=(len(ranked), len(ranked[0]))
    )
    if is_raw:
        reply.raw_output_contents.append(join_bytes(elements))
    else:
        tensor.contents.bytes_contents.extend(elements)


def _put_receipt(reply: pb.ModelInferResponse, receipt: Receipt) -> None:
    parameters = reply.parameters
    for name, value in receipt_parameters(receipt).items():
        if isinstance(value, str):
            parameters[name].string_param = value
        else:
            parameters[name].int64_param = value


def _class_count(request: pb.ModelInferRequest, signature: Signature) -> int | None:
    """How many classes the caller wants named; None: the values themselves. Raises InvalidRequest."""
    if not request.outputs:
        return None
    counts = [_value(output.parameters, classification.PARAMETER) for output in request.outputs]
    if counts[0] is None:
        return None
    return classification.check_count(counts[0], signature)


def _value(parameters: Mapping[str, pb.InferParameter], name: str) -> object:
    """A parameter's value, None where it is absent."""
    if not parameters or name not in parameters:  # indexing would create it
        return None
    parameter = parameters[name]
    choice = parameter.WhichOneof("parameter_choice")
    return NO_VALUE if choice is None else getattr(parameter, choice)


def _content(
    request: pb.ModelInferRequest, tensor: pb.ModelInferRequest.InferInputTensor, name: str
) -> bytes:
    raw = request.raw_input_contents
    if not raw:
        return _typed_content(tensor)
    if len(raw) != 1 or tensor.HasField("contents"):
        raise InvalidRequest(
            "RAW_CONTENTS", field=name,
            came=f"{len(raw)} raw_input_contents"
            + (" beside contents" if tensor.HasField("contents") else ""),
            accepted="one raw_input_contents entry and no contents, or contents alone",
        )  # fmt: skip
    return raw[0]


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
        return join_bytes(_few(values, tensor))
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


def _few(elements: Sequence[bytes], tensor: pb.ModelInferRequest.InferInputTensor) -> Sequence[bytes]:
    """The elements, unless they are so many that joining them would keep other callers waiting."""
    if len(elements) > MAX_TYPED_ELEMENTS:
        raise InvalidRequest(
            "TOO_MANY_EXAMPLES", field=tensor.name, came=f"{len(elements)} elements",
            accepted=f"at most {MAX_TYPED_ELEMENTS} in one request",
        )  # fmt: skip
    return elements


def _typed_fault(
    tensor: pb.ModelInferRequest.InferInputTensor, filled: list[str], accepted: str
) -> InvalidRequest:
    came = f"{tensor.datatype} in {', '.join(filled) or 'no contents'}"
    return InvalidRequest("CONTENTS_FIELD", field=tensor.name, came=came, accepted=accepted)
