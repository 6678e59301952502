"""Decoding beyond the contract cases: views, copies, bounds, and what holds for any tensor."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seqserve.errors import InvalidRequest
from seqserve.signature import Signature
from seqserve.tensors import (
    RawTensor,
    count_pictures,
    decode,
    rows_of_pixels,
    split,
    split_bytes,
    stack,
)
from support.contract import encode, signature_document

LINE = Signature.parse(signature_document("line"))
IMAGE = Signature.parse(signature_document("tiny_image"))
RGB = Signature.parse(signature_document("tiny_rgb"))

intensities = st.floats(0, 1, width=32)
any_finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


def _fp32(values: npt.ArrayLike, *shape: int, name: str = "image") -> RawTensor:
    return RawTensor(name, "FP32", shape, encode(values, "FP32"))


def test_fp32_rows_are_a_view_of_the_message() -> None:
    content = encode([0.5] * 6, "FP32")
    rows = decode(RawTensor("image", "FP32", (2, 3), content), IMAGE)
    assert np.shares_memory(rows, np.frombuffer(content, np.uint8))
    assert not rows.flags.writeable


def test_fp32_that_starts_at_an_odd_byte_is_copied_into_place() -> None:
    message = memoryview(b"?" + encode([0.25] * 6, "FP32"))
    rows = decode(RawTensor("image", "FP32", (6,), message[1:]), IMAGE)
    assert rows.flags.aligned
    np.testing.assert_array_equal(rows, np.full((1, 6), 0.25, np.float32))


def test_a_memoryview_decodes_like_bytes() -> None:
    content = bytes(range(6))
    from_bytes = decode(RawTensor("image", "UINT8", (6,), content), IMAGE)
    from_view = decode(RawTensor("image", "UINT8", (6,), memoryview(content)), IMAGE)
    np.testing.assert_array_equal(from_view, from_bytes)


def test_every_pixel_value_is_that_quotient_and_no_other() -> None:
    pixels = np.arange(256, dtype=np.uint8)
    images = [pixels[start : start + 6] for start in range(0, 252, 6)]
    rows = decode(RawTensor("image", "UINT8", (42, 6), np.concatenate(images).tobytes()), IMAGE)
    np.testing.assert_array_equal(
        rows.ravel(), np.array([np.float32(p) / np.float32(255) for p in range(252)])
    )


def test_a_bound_that_fp32_cannot_hold_exactly_accepts_itself() -> None:
    signature = IMAGE.model_copy(update={"maximum": 0.1})
    rows = decode(_fp32([0.1] * 6, 6), signature)
    assert rows[0, 0] == np.float32(0.1)


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-45, 1.0])
def test_the_ends_of_the_range_of_images_belong_to_it(value: float) -> None:
    rows = decode(_fp32([0.5, value, 0.5, 0.5, 0.5, 0.5], 6), IMAGE)
    assert rows[0, 1] == np.float32(value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nextafter(np.float32(1), np.float32(2)), "1.0000001 at"),
        (-1e-45, "-1e-45 at"),
        (float("nan"), "nan at"),
        (-float("nan"), "nan at"),
        (float("inf"), "inf at"),
        (float("-inf"), "-inf at"),
    ],
)
def test_what_is_beyond_the_range_of_images_by_ever_so_little_is_refused(value: float, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        decode(_fp32([0.5, value, 0.5, 0.5, 0.5, 0.5], 6), IMAGE)


def test_an_upper_bound_alone_is_said_as_such() -> None:
    signature = LINE.model_copy(update={"maximum": 2.5})
    with pytest.raises(InvalidRequest, match=r"3 at \[0\]; accepted: at most 2.5"):
        decode(_fp32([3.0], 1, name="x"), signature)


def test_a_range_of_numbers_gives_no_advice_about_pixels() -> None:
    signature = LINE.model_copy(update={"minimum": -1.0, "maximum": 1.0})
    with pytest.raises(InvalidRequest) as refusal:
        decode(_fp32([3.0], 1, name="x"), signature)
    assert refusal.value.accepted == "-1 to 1"


def test_the_bound_on_examples_is_the_callers_to_set() -> None:
    tensor = _fp32([0.5] * 3, 3, name="x")
    assert len(decode(tensor, LINE, max_request_examples=3)) == 3
    with pytest.raises(InvalidRequest) as refusal:
        decode(tensor, LINE, max_request_examples=2)
    assert refusal.value.detail == "TOO_MANY_EXAMPLES"


def test_a_model_whose_own_shape_is_hwc_gets_chw_permuted() -> None:
    document = RGB.model_dump()
    document["input"]["shape"] = [-1, 2, 2, 3]
    signature = Signature.model_validate(document)
    chw = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2) / 16
    rows = decode(_fp32(chw, *chw.shape), signature)
    np.testing.assert_array_equal(rows, chw.transpose(0, 2, 3, 1))
    assert rows.flags.c_contiguous


def test_grey_pixels_become_rows() -> None:
    pixels = np.array([[[0, 51, 102], [153, 204, 255]]], np.uint8)
    np.testing.assert_array_equal(
        rows_of_pixels(pixels, IMAGE), np.array([[0, 0.2, 0.4, 0.6, 0.8, 1]], np.float32)
    )


def test_colour_pixels_are_permuted_to_the_models_channels_first() -> None:
    pixels = np.zeros((1, 2, 2, 3), np.uint8)
    pixels[..., 1] = 255
    rows = rows_of_pixels(pixels, RGB)  # [1, 3, 2, 2]
    assert rows[0, 1].min() == 1
    assert rows[0, [0, 2]].max() == 0
    assert rows.flags.c_contiguous


@pytest.mark.parametrize("read", [split_bytes, count_pictures])
def test_a_model_of_numbers_takes_no_pictures(
    read: Callable[[RawTensor, Signature], object],
) -> None:
    tensor = RawTensor("x", "BYTES", (1,), struct.pack("<I", 0))
    with pytest.raises(InvalidRequest) as refusal:
        read(tensor, LINE)
    assert refusal.value.detail == "DATATYPE_NOT_ACCEPTED"


def test_pictures_are_counted_by_their_shape_alone() -> None:
    assert count_pictures(RawTensor("image", "BYTES", (7, 1), b""), IMAGE) == 7


def test_what_a_caller_sends_is_shortened_in_the_refusal() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        decode(RawTensor("image", "FP32\n" * 50, (6,), b""), IMAGE)
    assert len(refusal.value.came) <= 64
    assert "\n" not in str(refusal.value)


def test_one_part_is_handed_on_without_a_copy() -> None:
    part = np.zeros((2, 3), np.float32)
    assert stack([part]) is part


def test_split_refuses_sizes_that_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="do not add up to 3"):
        split(np.zeros((3, 1), np.float32), [1, 1])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_split_takes_apart_what_stack_joined(sizes: list[int]) -> None:
    parts = [np.full((size, 2), number, np.float32) for number, size in enumerate(sizes)]
    again = split(stack(parts), sizes)
    assert len(again) == len(parts)
    for part, joined in zip(parts, again, strict=True):
        np.testing.assert_array_equal(joined, part)


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(6)), elements=intensities),
    st.sampled_from([(6,), (2, 3), (1, 2, 3), (2, 3, 1)]),
)
def test_every_accepted_shape_of_a_grey_image_gives_the_same_rows(
    images: npt.NDArray[Any], shape: tuple[int, ...]
) -> None:
    rows = decode(_fp32(images, len(images), *shape), IMAGE)
    np.testing.assert_array_equal(rows, images)


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float32, st.integers(1, 20), elements=any_finite))
def test_any_finite_numbers_come_through_bit_by_bit(numbers: npt.NDArray[Any]) -> None:
    rows = decode(_fp32(numbers, len(numbers), name="x"), LINE)
    assert rows.tobytes() == numbers.tobytes()


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.uint16, st.integers(1, 20)))
def test_bf16_is_the_upper_half_of_fp32_or_refused(halves: npt.NDArray[Any]) -> None:
    tensor = RawTensor("x", "BF16", halves.shape, halves.astype("<u2").tobytes())
    expected = np.array([struct.unpack("<f", struct.pack("<HH", 0, half))[0] for half in halves], np.float32)
    if np.isfinite(expected).all():
        np.testing.assert_array_equal(decode(tensor, LINE)[:, 0], expected)
        return
    with pytest.raises(InvalidRequest) as refusal:
        decode(tensor, LINE)
    assert refusal.value.detail == "NOT_FINITE"


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["FP32", "FP16", "BF16", "UINT8", "INT8", "BYTES", ""]),
    st.lists(st.integers(-3, 7), max_size=9),
    st.binary(max_size=64),
)
def test_anything_at_all_is_rows_within_the_range_or_a_refusal(
    datatype: str, shape: list[int], content: bytes
) -> None:
    try:
        rows = decode(RawTensor("image", datatype, tuple(shape), content), IMAGE)
    except InvalidRequest:
        return
    assert rows.shape[1:] == (6,)
    assert ((rows >= 0) & (rows <= 1)).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=8), st.sampled_from([(), (1,)]))
def test_framed_elements_come_apart_again(elements: list[bytes], trailing: tuple[int, ...]) -> None:
    content = b"".join(struct.pack("<I", len(element)) + element for element in elements)
    tensor = RawTensor("image", "BYTES", (len(elements), *trailing), memoryview(content))
    assert split_bytes(tensor, IMAGE) == elements


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 4), st.binary(max_size=40))
def test_any_framed_bytes_are_exactly_n_elements_or_refused(count: int, content: bytes) -> None:
    try:
        elements = split_bytes(RawTensor("image", "BYTES", (count,), content), IMAGE)
    except InvalidRequest:
        return
    assert len(elements) == count
    assert b"".join(struct.pack("<I", len(element)) + element for element in elements) == content
