"""signature.json: what it says, and which documents hold no sound signature."""

from __future__ import annotations

import json
from typing import Any

import pytest

from seqserve.errors import ArchiveInvalid
from seqserve.signature import ImageSize, Signature
from support.contract import signature_document

KEYS = ["tiny_image", "tiny_rgb", "any_size_negative", "line", "kelvin", "digit"]


def _document(**changes: Any) -> bytes:
    return json.dumps(json.loads(signature_document("tiny_image")) | changes).encode()


def _refusal(document: bytes) -> str:
    with pytest.raises(ArchiveInvalid) as refusal:
        Signature.parse(document)
    return str(refusal.value)


@pytest.mark.parametrize("key", KEYS)
def test_the_contracts_signatures_are_sound_and_survive_a_round_trip(key: str) -> None:
    signature = Signature.parse(signature_document(key))
    assert Signature.parse(signature.model_dump_json().encode()) == signature


def test_elements_are_counted_in_one_example() -> None:
    assert Signature.parse(signature_document("tiny_rgb")).elements == 12
    assert Signature.parse(signature_document("line")).elements == 1


def test_layouts_are_found_by_shape() -> None:
    layouts = Signature.parse(signature_document("tiny_image")).layouts
    assert layouts == {(6,): "flat", (2, 3): "HW", (1, 2, 3): "CHW", (2, 3, 1): "HWC"}


@pytest.mark.parametrize(
    ("key", "size"),
    [
        ("tiny_image", ImageSize(height=2, width=3, channels=1)),
        ("tiny_rgb", ImageSize(height=2, width=2, channels=3)),
        ("digit", ImageSize(height=28, width=28, channels=1)),
        ("line", None),
        ("kelvin", None),
    ],
)
def test_the_image_size_follows_from_the_layouts(key: str, size: ImageSize | None) -> None:
    assert Signature.parse(signature_document(key)).image_size == size


def test_the_image_size_is_the_same_from_hwc_alone() -> None:
    shapes = [{"shape": [2, 3, 1], "layout": "HWC"}]
    signature = Signature.parse(_document(example_shapes=shapes))
    assert signature.image_size == ImageSize(height=2, width=3, channels=1)


def test_whole_numbers_are_bounds_too() -> None:
    assert Signature.parse(_document(minimum=0, maximum=1)).maximum == 1.0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"name": "../evil"}, "name"),
        ({"name": "a\n"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a" * 129}, "name"),
        ({"version": "0"}, "version"),
        ({"version": "01"}, "version"),
        ({"version": "1\n"}, "version"),
        ({"version": 1}, "version"),
        ({"version": "latest"}, "version"),
        ({"task": "clustering"}, "task"),
        ({"platform": "onnx"}, "platform"),
        ({"max_batch_size": 0}, "max_batch_size"),
        ({"minimum": "0"}, "minimum"),
        ({"resize": 1}, "resize"),
        ({"invert": "true"}, "invert"),
        ({"invert": None}, "invert"),
        ({"unknown": 1}, "unknown"),
        ({"input": {"name": "image", "datatype": "FP64", "shape": [-1, 6]}}, "input.datatype"),
        ({"input": {"name": "image", "datatype": "FP32", "shape": [6]}}, "must be -1"),
        ({"input": {"name": "image", "datatype": "FP32", "shape": [-1, 0]}}, "must be -1"),
        ({"input": {"name": "image", "datatype": "FP32", "shape": [-1, -1]}}, "must be -1"),
        ({"input": {"name": "image", "datatype": "FP32", "shape": []}}, "input.shape"),
        ({"labels": ["only one"]}, "1 labels for an output of shape [-1, 2]"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(changes: dict[str, Any], says: str) -> None:
    assert says in _refusal(_document(**changes))


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ([], "example_shapes"),
        ([([6], "flat"), ([6], "flat")], "listed twice"),
        ([([7], "flat")], "has not the input's 6 elements"),
        ([([6], "HW")], "cannot be HW"),
        ([([2, 3], "CHW")], "cannot be CHW"),
        ([([6], "NHWC")], "layout"),
        ([([0, 6], "HW")], "shape"),
        ([([2, 3], "HW"), ([3, 2, 1], "HWC")], "different images"),
        ([([6, 1, 1], "CHW")], "6 channels"),
        ([([6], "flat"), ([3, 1, 2], "CHW")], "several channels"),
    ],
)  # fmt: skip
def test_example_shapes_that_do_not_hold_together_are_refused(
    shapes: list[tuple[list[int], str]], says: str
) -> None:
    listed = [{"shape": shape, "layout": layout} for shape, layout in shapes]
    assert says in _refusal(_document(example_shapes=listed))


@pytest.mark.parametrize("bound", ["NaN", "Infinity", "1e999"])
def test_a_bound_that_is_no_number_is_refused(bound: str) -> None:
    document = _document(maximum=0.5).replace(b"0.5", bound.encode())
    assert "maximum" in _refusal(document)


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(document: bytes) -> None:
    assert _refusal(document).startswith("signature.json: document")


@pytest.mark.parametrize("shape", [[-1], [-1, 5, 2]])
def test_a_classification_has_one_axis_of_classes(shape: list[int]) -> None:
    output = {"name": "probabilities", "datatype": "FP32", "shape": shape}
    assert "[-1,classes]" in _refusal(_document(output=output, labels=[]))


def test_bounds_in_the_wrong_order_are_refused() -> None:
    assert "minimum 1 is above maximum 0" in _refusal(_document(minimum=1, maximum=0))


@pytest.mark.parametrize("field", ["resize", "invert"])
def test_what_is_done_to_pictures_is_said_of_models_of_images_alone(field: str) -> None:
    assert not getattr(Signature.parse(_document()), field)
    assert getattr(Signature.parse(_document(**{field: True})), field)
    flat = [{"shape": [6], "layout": "flat"}]
    assert f"{field} is for models of images" in _refusal(_document(example_shapes=flat, **{field: True}))
    assert not getattr(Signature.parse(_document(example_shapes=flat, **{field: False})), field)
