"""One inference request as it came over HTTP: JSON, perhaps with bytes behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from starlette.datastructures import Headers

from seqserve import oip_rules
from seqserve.classification import PARAMETER as CLASSIFICATION
from seqserve.classification import check_count
from seqserve.errors import InvalidRequest, SeqserveError
from seqserve.http_api.binary_extension import SIZE, Behind, json_bytes, wants_binary
from seqserve.http_api.documents import InferInput, InferRequest, RequestedOutput, read_document
from seqserve.http_api.json_size import check_json_size
from seqserve.http_api.json_tensors import BASE64, pack, pack_base64
from seqserve.http_api.strict_json import parse_object
from seqserve.signature import Signature
from seqserve.tensors import RawTensor


@dataclass(frozen=True, slots=True)
class Input:
    """One input. is_text: BYTES that came as plain strings, in which no picture can travel."""

    tensor: RawTensor
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class InferMessage:
    """What is left of a request once its JSON and its arrays have been read.

    id: "" where there is none. timeout: Triton's parameter, checked with the rest in `content`.
    """

    id: str
    timeout: object
    inputs: tuple[Input, ...]
    outputs: tuple[RequestedOutput, ...]
    is_binary: bool

    def content(self, signature: Signature) -> RawTensor:
        """The request's one input, of a request that asks for what there is. Raises InvalidRequest."""
        oip_rules.check_timeout(self.timeout)
        oip_rules.check_input_names([item.tensor.name for item in self.inputs], signature)
        oip_rules.check_output_names([output.name for output in self.outputs], signature)
        self.class_count(signature)
        (item,) = self.inputs
        if item.is_text and signature.image_size is not None:
            raise InvalidRequest(
                "BYTES_IN_JSON", field=item.tensor.name, came="BYTES as plain strings",
                accepted=f"the binary extension, or base64 with parameters.content_type {BASE64!r}",
            )  # fmt: skip
        return item.tensor

    def class_count(self, signature: Signature) -> int | None:
        """How many classes the caller wants named; None: the values themselves. Raises InvalidRequest."""
        counts = [_given(output.parameters).get(CLASSIFICATION) for output in self.outputs]
        return None if not counts or counts[0] is None else check_count(counts[0], signature)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A request that could not be read; what is wrong is told, and counted, once its model is known."""

    fault: SeqserveError
    id: str = ""
    timeout: None = None

    def content(self, signature: Signature) -> RawTensor:  # noqa: ARG002 - as InferMessage has it
        """Raises the fault."""
        raise self.fault


def read_message(body: bytearray, headers: Headers, max_body_bytes: int) -> InferMessage:
    """The message in a body, checked as far as that needs no model. Raises InvalidRequest."""
    content = memoryview(body)
    count = json_bytes(headers, len(body))
    request = _request(bytes(content[:count]), max_body_bytes)
    _check_parameters(request)
    behind = Behind(content[count:])
    inputs = tuple(_input(item, behind) for item in request.inputs)
    behind.check_end()
    parameters, outputs = _given(request.parameters), tuple(request.outputs or ())
    of_output = _given(outputs[0].parameters) if outputs else {}
    return InferMessage(
        id=request.id or "",
        timeout=parameters.get(oip_rules.TIMEOUT),
        inputs=inputs,
        outputs=outputs,
        is_binary=wants_binary(parameters, of_output),
    )


def _request(text: bytes, max_body_bytes: int) -> InferRequest:
    check_json_size(text, max_body_bytes)
    return read_document(InferRequest, parse_object(text))


def _check_parameters(request: InferRequest) -> None:
    of_tensors = (_given(item.parameters) for item in (*request.inputs, *(request.outputs or ())))
    oip_rules.check_parameter_names(chain(_given(request.parameters), *of_tensors))


def _input(item: InferInput, behind: Behind) -> Input:
    parameters = _given(item.parameters)
    if (SIZE in parameters) == (item.data is not None):
        raise InvalidRequest(
            "CONTENTS_FIELD", field=item.name, came=f"both `data` and {SIZE}" if item.data else "no contents",
            accepted=f"either `data` or {SIZE} and bytes behind the JSON",
        )  # fmt: skip
    tensor = partial(RawTensor, item.name, item.datatype, tuple(item.shape))
    if SIZE in parameters:
        return Input(tensor(behind.take(item.name, parameters[SIZE])))
    if item.datatype != "BYTES":
        return Input(tensor(pack(item.data, item.name, item.datatype, item.shape)))
    if parameters.get("content_type") == BASE64:
        return Input(tensor(pack_base64(item.data, item.name, item.shape)))
    return Input(tensor(b""), is_text=True)


def _given(parameters: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return parameters or {}
