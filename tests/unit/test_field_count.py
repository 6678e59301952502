"""Fields are counted as the parser would count them, and no further than needed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.errors import InvalidRequest
from seqserve.grpc_api.field_count import MAX_FIELDS, SHORT_BYTES, WIDE_BYTES, check_field_count
from seqserve.pb import inference_pb2 as pb

MESSAGE = pb.DESCRIPTOR.message_types_by_name["ModelInferRequest"]
LARGEST = 2**24
PARAMETER = b"\x22\0"
LONG = pb.ModelInferRequest(raw_input_contents=[bytes(SHORT_BYTES)]).SerializeToString()  # one field
EACH_KIND = [
    b"\x08\x80\x01",
    b"\x09" + bytes(8),
    b"\x0a\x03abc",
    b"\x22\0",
    b"\x0d" + bytes(4),
    b"\xf8\xff\xff\xff\x0f\x01",
]


def count(body: bytes) -> None:
    check_field_count(body, MESSAGE, LARGEST)


@pytest.mark.parametrize(
    "field", EACH_KIND, ids=["varint", "8 bytes", "length", "submessage", "4 bytes", "long tag"]
)
def test_as_many_as_accepted_pass_and_one_more_does_not(field: bytes) -> None:
    count(LONG + field * (MAX_FIELDS - 1))
    with pytest.raises(InvalidRequest) as refusal:
        count(LONG + field * MAX_FIELDS)

    assert refusal.value.detail == "TOO_MANY_FIELDS"


def test_a_short_message_is_not_counted() -> None:
    count(PARAMETER * (SHORT_BYTES // 2))
    with pytest.raises(InvalidRequest):
        count(PARAMETER * (SHORT_BYTES // 2 + 1))


def test_what_is_long_in_one_field_is_one_field() -> None:
    count(LONG * 100)


def test_those_of_submessages_count_too() -> None:
    request = pb.ModelInferRequest(raw_input_contents=[bytes(SHORT_BYTES)])
    contents = request.inputs.add(shape=[1, 2]).contents
    contents.bytes_contents.extend(
        [b""] * (MAX_FIELDS - 4)
    )  # the tensor, its shape, its contents, the raw ones
    count(request.SerializeToString())
    contents.bytes_contents.append(b"")
    with pytest.raises(InvalidRequest):
        count(request.SerializeToString())


def test_as_many_pictures_as_a_request_may_carry_pass() -> None:
    request = pb.ModelInferRequest()
    tensor = request.inputs.add(name="image", datatype="BYTES", shape=[1024])
    tensor.contents.bytes_contents.extend([b"\x89PNG" + bytes(2000)] * 1024)
    count(request.SerializeToString())


@pytest.mark.parametrize("name", ["shape", "int64_contents", "uint64_contents"])
def test_numbers_that_take_eight_bytes_for_one_on_the_wire_are_not_free(name: str) -> None:
    request = pb.ModelInferRequest()
    tensor = request.inputs.add(name="image", datatype="INT64")
    numbers = getattr(tensor.contents, name, tensor.shape)
    numbers.extend([1] * (256 * 784))  # that nobody takes this datatype is told later
    count(request.SerializeToString())
    numbers.extend([1] * (MAX_FIELDS * WIDE_BYTES))
    with pytest.raises(InvalidRequest) as refusal:
        count(request.SerializeToString())

    assert refusal.value.detail == "TOO_MANY_FIELDS"


@pytest.mark.parametrize("name", ["int_contents", "uint_contents", "bool_contents"])
def test_as_many_small_numbers_pass_as_the_largest_message_has_as_fp32(name: str) -> None:
    request = pb.ModelInferRequest()
    numbers = getattr(request.inputs.add(name="image", datatype="UINT8").contents, name)
    numbers.extend([1] * (LARGEST // 4))
    count(request.SerializeToString())
    numbers.append(1)
    with pytest.raises(InvalidRequest) as refusal:
        count(request.SerializeToString())

    assert refusal.value.detail == "TOO_MANY_VALUES"
    assert str(refusal.value) == f"{name}: {LARGEST // 4 + 1} values; accepted: at most {LARGEST // 4}"


def test_numbers_of_two_bytes_are_counted_once() -> None:
    request = pb.ModelInferRequest()
    request.inputs.add(name="image", datatype="UINT8").contents.uint_contents.extend([200] * (LARGEST // 4))
    count(request.SerializeToString())


def test_numbers_are_one_field_however_many() -> None:
    request = pb.ModelInferRequest()
    request.inputs.add().contents.fp32_contents.extend([0.5] * SHORT_BYTES)
    count(request.SerializeToString())


def test_a_submessage_that_lies_about_its_length_is_left_to_the_parser() -> None:
    count(b"\x2a\xff\xff\xff\xff\x0f" + bytes(SHORT_BYTES // 8))
    count(LONG + b"\x2a\xff\xff\xff\xff\x0f\x2a\x01")


@given(st.binary(max_size=40), st.binary(max_size=3))
def test_what_is_no_protobuf_is_left_to_the_parser_or_refused(head: bytes, repeated: bytes) -> None:
    try:
        count(head + repeated * SHORT_BYTES)
    except InvalidRequest as refusal:
        assert refusal.detail == "TOO_MANY_FIELDS"  # noqa: PT017 - either outcome is right
