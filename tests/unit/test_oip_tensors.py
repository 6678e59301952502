"""OIP's tensor messages: every form that clients send, and that nothing they send breaks the reader."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from seqserve import tensors
from seqserve.batching.observers import VersionObserver
from seqserve.errors import InvalidRequest
from seqserve.grpc_api.oip_tensors import input_tensor, put_answer, timeout_seconds
from seqserve.pb import inference_pb2 as pb
from seqserve.predictor import Prediction, Receipt
from seqserve.signature import Signature
from support.contract import signature_document
from support.oip import rows_of

TINY = Signature.parse(signature_document("tiny_image"))
LINE = Signature.parse(signature_document("line"))
SIGNATURES = st.sampled_from([TINY, LINE])
RECEIPT = Receipt(0.25, 0.5, 3, "fake", "cpu", "ab" * 32)
ROWS = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)

# Names that fit and names that do not, and messages in every state of disorder.
TEXT = st.sampled_from(["image", "x", "probabilities", "y", "timeout", "classification"]) | st.text(
    max_size=9
)
PARAMETER = st.one_of(
    st.builds(pb.InferParameter),
    st.builds(pb.InferParameter, int64_param=st.integers(-(2**63), 2**63 - 1)),
    st.builds(pb.InferParameter, uint64_param=st.integers(0, 2**64 - 1)),
    st.builds(pb.InferParameter, double_param=st.floats()),
    st.builds(pb.InferParameter, string_param=st.text(max_size=5)),
    st.builds(pb.InferParameter, bool_param=st.booleans()),
)
PARAMETERS = st.dictionaries(TEXT, PARAMETER, max_size=2)
CONTENTS = st.builds(
    pb.InferTensorContents,
    bool_contents=st.lists(st.booleans(), max_size=1),
    int_contents=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=6),
    uint_contents=st.lists(st.integers(0, 2**32 - 1), max_size=6),
    fp32_contents=st.lists(st.floats(width=32), max_size=6),
    bytes_contents=st.lists(st.binary(max_size=9), max_size=3),
)
ONE_FIELD = st.one_of(
    st.builds(pb.InferTensorContents, int_contents=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=6)),
    st.builds(pb.InferTensorContents, uint_contents=st.lists(st.integers(0, 2**32 - 1), max_size=6)),
    st.builds(pb.InferTensorContents, fp32_contents=st.lists(st.floats(width=32), max_size=6)),
    st.builds(pb.InferTensorContents, bytes_contents=st.lists(st.binary(max_size=9), max_size=3)),
)
DATATYPES = st.sampled_from(
    ["FP32", "FP16", "BF16", "UINT8", "INT8", "INT16", "UINT16", "BYTES", "FP64", "INT64", "BOOL", ""]
)
INPUTS = st.builds(
    pb.ModelInferRequest.InferInputTensor,
    name=TEXT,
    datatype=DATATYPES | st.text(max_size=5),
    shape=st.lists(st.sampled_from([1, 2, 3, 6]) | st.integers(-(2**63), 2**63 - 1), max_size=9),
    parameters=PARAMETERS,
    contents=st.none() | ONE_FIELD | CONTENTS,
)
OUTPUTS = st.builds(pb.ModelInferRequest.InferRequestedOutputTensor, name=TEXT, parameters=PARAMETERS)
REQUESTS = st.builds(
    pb.ModelInferRequest,
    parameters=PARAMETERS,
    inputs=st.lists(INPUTS, min_size=1, max_size=1) | st.lists(INPUTS, max_size=2),
    outputs=st.lists(OUTPUTS, max_size=2),
    raw_input_contents=st.lists(st.binary(max_size=48), max_size=2),
)


def typed(signature: Signature, datatype: str, shape: list[int], **contents: Any) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest()
    tensor = request.inputs.add(name=signature.input.name, datatype=datatype, shape=shape)
    tensor.contents.CopyFrom(pb.InferTensorContents(**contents))
    return request


def asking(classes: int | None, *, is_raw: bool) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(id="mine", raw_input_contents=[b""] if is_raw else [])
    if classes is not None:
        request.outputs.add(name="probabilities").parameters["classification"].int64_param = classes
    return request


def answer(request: pb.ModelInferRequest, receipt: Receipt = RECEIPT) -> pb.ModelInferResponse:
    reply = pb.ModelInferResponse()
    put_answer(reply, request, Prediction("tiny", "1", TINY, ROWS, receipt, VersionObserver()))
    return reply


def decoded(request: pb.ModelInferRequest, signature: Signature) -> npt.NDArray[np.float32]:
    return tensors.decode(input_tensor(request, signature), signature)


def refusal(request: pb.ModelInferRequest, signature: Signature) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        decoded(request, signature)
    return refused.value


@given(REQUESTS, SIGNATURES)
def test_whatever_a_message_holds_it_is_read_or_refused(
    request_: pb.ModelInferRequest, signature: Signature
) -> None:
    timeout_seconds(request_, None)
    try:
        raw = input_tensor(request_, signature)
        rows = tensors.decode(raw, signature)
    except InvalidRequest:
        return
    assert rows.shape[1:] == signature.input.example_shape


@given(REQUESTS, st.integers(min_value=0), st.binary(max_size=3), SIGNATURES)
def test_bytes_that_were_changed_on_the_way_are_read_or_refused(
    request_: pb.ModelInferRequest, position: int, change: bytes, signature: Signature
) -> None:
    body = request_.SerializeToString()
    position %= len(body) + 1
    with contextlib.suppress(DecodeError, InvalidRequest):
        changed = pb.ModelInferRequest.FromString(body[:position] + change + body[position + len(change) :])
        tensors.decode(input_tensor(changed, signature), signature)


@given(REQUESTS, SIGNATURES)
def test_reading_changes_no_message(request_: pb.ModelInferRequest, signature: Signature) -> None:
    before = request_.SerializeToString(deterministic=True)
    try:
        input_tensor(request_, signature)
    except InvalidRequest:
        timeout_seconds(request_, 1.0)

    assert request_.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("datatype", "field", "lowest", "highest"),
    [
        ("INT8", "int_contents", -128, 127),
        ("INT16", "int_contents", -32768, 32767),
        ("UINT8", "uint_contents", 0, 255),
        ("UINT16", "uint_contents", 0, 65535),
    ],
)
def test_typed_integers_count_by_value_within_their_datatype(
    datatype: str, field: str, lowest: int, highest: int
) -> None:
    rows = decoded(typed(LINE, datatype, [3], **{field: [lowest, 1, highest]}), LINE)

    np.testing.assert_array_equal(rows, np.array([[lowest], [1], [highest]], np.float32))
    beyond = typed(LINE, datatype, [1], **{field: [highest + 1]})
    assert refusal(beyond, LINE).detail == "OUT_OF_RANGE"
    if lowest:
        beneath = typed(LINE, datatype, [1], **{field: [lowest - 1]})
        assert refusal(beneath, LINE).detail == "OUT_OF_RANGE"


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_typed_floats_arrive_bit_by_bit(values: list[float]) -> None:
    rows = decoded(typed(LINE, "FP32", [len(values)], fp32_contents=values), LINE)

    np.testing.assert_array_equal(rows.ravel(), np.array(values, np.float32))


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_typed_bytes_are_the_pictures_themselves(pictures: list[bytes]) -> None:
    raw = input_tensor(typed(TINY, "BYTES", [len(pictures)], bytes_contents=pictures), TINY)

    assert tensors.split_bytes(raw, TINY) == pictures


@pytest.mark.parametrize(
    ("datatype", "contents"),
    [
        ("INT32", {"int_contents": [1]}),
        ("INT64", {"int64_contents": [1]}),
        ("UINT32", {"uint_contents": [1]}),
        ("UINT64", {"uint64_contents": [1]}),
        ("FP64", {"fp64_contents": [1.0]}),
        ("BOOL", {"bool_contents": [True]}),
        ("", {"fp32_contents": [1.0]}),
    ],
)
@pytest.mark.parametrize("signature", [LINE, TINY], ids=["line", "image"])
def test_other_datatypes_are_refused_and_the_accepted_ones_named(
    signature: Signature, datatype: str, contents: dict[str, Any]
) -> None:
    refused = refusal(typed(signature, datatype, [1], **contents), signature)

    assert refused.detail == "DATATYPE_NOT_ACCEPTED"
    assert "FP32" in refused.accepted


def test_images_take_no_integers_but_pixels() -> None:
    refused = refusal(typed(TINY, "INT8", [6], int_contents=[0] * 6), TINY)

    assert (refused.detail, refused.came) == ("DATATYPE_NOT_ACCEPTED", "INT8")


def test_half_precision_has_a_raw_form_only() -> None:
    refused = refusal(typed(LINE, "BF16", [1], fp32_contents=[1.0]), LINE)

    assert refused.detail == "CONTENTS_FIELD"
    assert "raw_input_contents" in refused.accepted


@pytest.mark.parametrize(
    ("parameter", "came"),
    [
        (pb.InferParameter(string_param="5"), "5"),
        (pb.InferParameter(bool_param=True), "True"),
        (pb.InferParameter(), "no value"),
        (pb.InferParameter(int64_param=0), "0"),
    ],
)
def test_a_classification_parameter_that_is_no_count_is_refused(
    parameter: pb.InferParameter, came: str
) -> None:
    request = typed(TINY, "FP32", [6], fp32_contents=[0] * 6)
    request.outputs.add(name="probabilities").parameters["classification"].CopyFrom(parameter)

    refused = refusal(request, TINY)
    assert (refused.field, refused.came) == ("outputs.parameters.classification", came)


def test_a_timeout_may_be_a_signed_or_an_unsigned_number() -> None:
    for parameter in (pb.InferParameter(int64_param=1500), pb.InferParameter(uint64_param=1500)):
        request = pb.ModelInferRequest(parameters={"timeout": parameter})
        assert timeout_seconds(request, None) == 0.0015
        assert timeout_seconds(request, 0.001) == 0.001


@pytest.mark.parametrize("is_raw", [True, False], ids=["raw", "typed"])
def test_rows_come_back_in_the_form_of_the_request(*, is_raw: bool) -> None:
    reply = answer(asking(None, is_raw=is_raw))

    assert (reply.model_name, reply.model_version, reply.id) == ("tiny", "1", "mine")
    assert bool(reply.raw_output_contents) is is_raw
    assert reply.outputs[0].HasField("contents") is not is_raw
    np.testing.assert_array_equal(rows_of(reply), ROWS)


@pytest.mark.parametrize(("classes", "width"), [(1, 1), (2, 2), (99, 2)])
def test_classes_come_back_as_typed_bytes(classes: int, width: int) -> None:
    output = answer(asking(classes, is_raw=False)).outputs[0]

    assert (output.datatype, list(output.shape)) == ("BYTES", [2, width])
    elements = list(output.contents.bytes_contents)
    assert elements[0] == b"0.750000:1:bright"
    assert elements[width] == b"0.500000:0:dark"
    assert len(elements) == math.prod(output.shape)


def test_classes_come_back_raw_behind_their_lengths() -> None:
    reply = answer(asking(1, is_raw=True))

    assert (
        reply.raw_output_contents[0]
        == b"\x11\0\0\0" + b"0.750000:1:bright" + b"\x0f\0\0\0" + b"0.500000:0:dark"
    )
    assert not reply.outputs[0].HasField("contents")


def test_the_receipt_names_an_archive_only_where_one_was_verified() -> None:
    verified = answer(asking(None, is_raw=True)).parameters
    external = answer(asking(None, is_raw=True), Receipt(0.25, 0.5, 3, "torchserve", "cpu", "")).parameters

    assert verified["seqserve_queue_ns"].int64_param == 250_000_000
    assert verified["seqserve_compute_ns"].int64_param == 500_000_000
    assert verified["seqserve_archive_sha256"].string_param == "ab" * 32
    assert "seqserve_archive_sha256" not in external
