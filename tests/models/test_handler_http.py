"""The archive's handler for HTTP callers: JSON, raw tensors, images, and what is none of these."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from seqserve_models.handler import Handler
from support.handler import (
    FAILED,
    GREY,
    JSON,
    Answering,
    FakeContext,
    brightness,
    doubling,
    expected_probabilities,
    gateway_row,
    load,
    over_http,
)

PNG = {"Content-Type": "image/png"}
RAW = {"Content-Type": "application/octet-stream", "X-Tensor-Datatype": "FP32"}


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def grey_image(pixels: list[int], width: int = 3, height: int = 2) -> Image.Image:
    return Image.frombytes("L", (width, height), bytes(pixels))


def png_of_claimed_size(width: int, height: int) -> bytes:
    """A PNG whose header is whole and says any size; its pixels are one zero byte."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    framed = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    ]
    return b"".join([b"\x89PNG\r\n\x1a\n", *framed])


@pytest.fixture
def tiny(tmp_path: Path) -> Handler:
    return load(tmp_path, "tiny_image", brightness())


@pytest.fixture
def line(tmp_path: Path) -> Handler:
    return load(tmp_path, "line", doubling())


# ---- JSON ----


@pytest.mark.parametrize(
    "document",
    [GREY, [GREY], [GREY[:3], GREY[3:]], [[GREY[:3], GREY[3:]]], {"instances": [GREY]}, {"instances": GREY}],
    ids=["flat", "flat batch", "image", "image batch", "instances", "one instance"],
)
@pytest.mark.parametrize("as_bytes", [False, True], ids=["parsed by TorchServe", "as bytes"])
def test_the_nesting_of_json_is_the_shape(tiny: Handler, document: object, as_bytes: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    body = bytearray(json.dumps(document).encode()) if as_bytes else document
    status, answer = over_http(tiny, body, {"Content-Type": "application/json; charset=utf-8"})
    assert status == 200
    dark, bright = expected_probabilities(GREY)[0].tolist()
    assert answer == {
        "model_name": "tiny_image",
        "model_version": "1",
        "predictions": [
            {
                "label": "dark",
                "index": 0,
                "probability": pytest.approx(dark, abs=1e-6),
                "probabilities": pytest.approx([dark, bright], abs=1e-6),
            }
        ],
    }


def test_json_of_several_images_gets_several_predictions(tiny: Handler) -> None:
    _, answer = over_http(tiny, [[[0, 0, 0], [0, 0, 0]], [[1, 1, 1], [1, 1, 1]]], JSON)
    assert [prediction["label"] for prediction in answer["predictions"]] == ["dark", "bright"]


def test_a_tie_goes_to_the_lower_index(tiny: Handler) -> None:
    _, answer = over_http(tiny, [0.5] * 6, JSON)
    assert answer["predictions"] == [
        {"label": "dark", "index": 0, "probability": 0.5, "probabilities": [0.5, 0.5]}
    ]


def test_a_classification_without_labels_answers_with_indices(tiny: Handler) -> None:
    tiny.signature = tiny.signature | {"labels": []}
    _, answer = over_http(tiny, [1.0] * 6, JSON)
    assert "label" not in answer["predictions"][0]
    assert answer["predictions"][0]["index"] == 1


def test_a_regression_model_answers_with_lists_of_values(line: Handler) -> None:
    status, answer = over_http(line, [1.5, -2, 0], JSON)
    assert status == 200
    assert answer == {"model_name": "line", "model_version": "1", "predictions": [[3.0], [-4.0], [0.0]]}


@pytest.mark.parametrize(
    ("body", "reason", "says"),
    [
        ([[0.5, 0.5], [0.5]], "JSON_RAGGED", "depth 2"),
        ([[0.5, 0.5], 0.5], "JSON_RAGGED", "depth 2"),
        ([0.5, [0.5, 0.5]], "JSON_NOT_NUMBERS", "list"),
        (["0.5"] * 6, "JSON_NOT_NUMBERS", "str"),
        ([0.5] * 5 + [True], "JSON_NOT_NUMBERS", "bool"),
        ([0.5] * 5 + [None], "JSON_NOT_NUMBERS", "NoneType"),
        ({"image": GREY}, "RANK_NOT_ACCEPTED", "1 to 8"),
        (None, "RANK_NOT_ACCEPTED", "1 to 8"),
        (0.5, "RANK_NOT_ACCEPTED", "1 to 8"),
        ([], "DIMENSION_NOT_POSITIVE", "[0]"),
        ([[], []], "DIMENSION_NOT_POSITIVE", "[2,0]"),
        ([[[[[[[[[0.5]]]]]]]]], "RANK_NOT_ACCEPTED", "1 to 8"),
        ([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]], "SHAPE_NOT_ACCEPTED", "[3,2]"),
        (b"[0.5, 0.5, 0.5, 0.5, 0.5, NaN]", "NOT_FINITE", "nan at [5]"),
        ([0.5] * 5 + [float("-inf")], "NOT_FINITE", "-inf at [5]"),
        ([1e39] + [0.5] * 5, "NOT_FINITE", "inf at [0]"),
        ([10**400] + [0.5] * 5, "NOT_FINITE", "FP64"),
        ([3.7] + [0.5] * 5, "OUT_OF_RANGE", "3.7 at [0]; accepted: 0 to 1; did you send 0 to 255? use UINT8"),
        (b"[0.5,", "JSON_MALFORMED", "no readable JSON"),
        (b"\xff\xfe[", "JSON_MALFORMED", "no readable JSON"),
        (b"", "JSON_MALFORMED", "no readable JSON"),
        (b"[" * 100_000, "JSON_MALFORMED", "no readable JSON"),
    ],
    ids=lambda value: str(value)[:32] if isinstance(value, str) else "",
)
def test_json_that_is_no_tensor_of_numbers_is_refused(
    tiny: Handler, body: object, reason: str, says: str
) -> None:
    status, answer = over_http(tiny, body, JSON)
    assert status == 400
    assert answer["reason"] == reason
    assert answer["error"].startswith("image: ")
    assert says in answer["error"]


def test_an_output_that_json_cannot_say_is_a_failure(line: Handler) -> None:
    line.module = Answering(torch.tensor([[float("nan")]]))
    assert over_http(line, [1.0], JSON) == (500, {"error": FAILED, "reason": "INTERNAL"})


# ---- raw tensors ----


@pytest.mark.parametrize("shape", ["2,3", "1, 2, 3", "6"])
def test_a_raw_tensor_is_described_by_its_headers(tiny: Handler, shape: str) -> None:
    content = np.asarray(GREY, "<f4").tobytes()
    assert over_http(tiny, content, RAW | {"X-Tensor-Shape": shape}) == over_http(tiny, GREY, JSON)


def test_header_names_count_in_any_case(tiny: Handler) -> None:
    headers = {
        "content-type": "Application/Octet-Stream",
        "x-tensor-shape": "2,3",
        "X-TENSOR-DATATYPE": "UINT8",
        "body": {"content-type": "image/png"},  # TorchServe's own, for each part of a form
    }
    status, answer = over_http(tiny, bytes([255] * 6), headers)
    assert (status, answer["predictions"][0]["label"]) == (200, "bright")


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "SHAPE_NOT_ACCEPTED"),
        ({"X-Tensor-Shape": "2x3"}, "SHAPE_NOT_ACCEPTED"),
        ({"X-Tensor-Shape": "2,3,"}, "SHAPE_NOT_ACCEPTED"),
        ({"X-Tensor-Shape": "1_0"}, "SHAPE_NOT_ACCEPTED"),
        ({"X-Tensor-Shape": "9" * 5000}, "SHAPE_NOT_ACCEPTED"),
        ({"X-Tensor-Shape": "-2,-3"}, "DIMENSION_NOT_POSITIVE"),
        ({"X-Tensor-Shape": f"{2**62},4"}, "SHAPE_OVERFLOW"),
        ({"X-Tensor-Shape": "2,6"}, "BYTE_LENGTH_MISMATCH"),
        ({"X-Tensor-Shape": "2,3", "X-Tensor-Datatype": "FP64"}, "DATATYPE_NOT_ACCEPTED"),
    ],
    ids=lambda value: str(value)[:48],
)
def test_a_raw_tensor_that_its_headers_do_not_describe_is_refused(
    tiny: Handler, headers: dict[str, str], reason: str
) -> None:
    status, answer = over_http(tiny, np.asarray(GREY, "<f4").tobytes(), RAW | headers)
    assert (status, answer["reason"]) == (400, reason)
    assert len(answer["error"]) < 300


# ---- images ----


@pytest.mark.parametrize(
    ("kind", "mime"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("PNG", "image/jpeg")]
)
def test_an_image_is_its_pixels(tiny: Handler, kind: str, mime: str) -> None:
    status, answer = over_http(tiny, bytearray(encoded(grey_image([255] * 6), kind)), {"Content-Type": mime})
    assert status == 200
    assert answer == over_http(tiny, [1.0] * 6, JSON)[1]


def test_a_grey_image_is_divided_by_255_as_pixels_are(tiny: Handler) -> None:
    pixels = [0, 1, 13, 128, 200, 255]
    headers = {
        "Content-Type": "application/octet-stream",
        "X-Tensor-Shape": "6",
        "X-Tensor-Datatype": "UINT8",
    }
    assert over_http(tiny, encoded(grey_image(pixels)), PNG) == over_http(tiny, bytes(pixels), headers)


def test_colour_becomes_grey_by_itu_r_601(tiny: Handler) -> None:
    red = encoded(Image.new("RGB", (3, 2), (255, 0, 0)))
    assert over_http(tiny, red, PNG) == over_http(tiny, encoded(grey_image([76] * 6)), PNG)


def test_of_sixteen_bits_the_upper_eight_count(tiny: Handler) -> None:
    deep = encoded(Image.new("I;16", (3, 2), 200 * 256 + 99))
    assert over_http(tiny, deep, PNG) == over_http(tiny, encoded(grey_image([200] * 6)), PNG)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_lies_over_black(tiny: Handler, mode: str) -> None:
    clear_white = encoded(Image.new(mode, (3, 2), (255, 255, 255, 0) if mode == "RGBA" else (255, 0)))
    assert over_http(tiny, clear_white, PNG) == over_http(tiny, [0.0] * 6, JSON)


def test_a_colour_model_gets_channels_first(tmp_path: Path) -> None:
    class FirstChannel(nn.Module):
        """The means of red and green: only in CHW are these the first two."""

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return batch.mean(dim=(2, 3))[:, :2]

    rgb = load(tmp_path, "tiny_rgb", FirstChannel())
    _, answer = over_http(rgb, encoded(Image.new("RGB", (2, 2), (255, 51, 0))), PNG)
    assert answer["predictions"][0]["probabilities"] == pytest.approx([1.0, 0.2])


@pytest.mark.parametrize(
    ("content", "reason", "says"),
    [
        (encoded(grey_image([0] * 6, width=2, height=3)), "IMAGE_SIZE", "2x3 pixels; accepted: 3x2 pixels"),
        (png_of_claimed_size(30_000, 30_000), "IMAGE_SIZE", "accepted: 3x2 pixels"),
        (png_of_claimed_size(12_000, 12_000), "IMAGE_SIZE", "accepted: 3x2 pixels"),
        (png_of_claimed_size(3, 2), "IMAGE_BROKEN", "damaged"),
        (encoded(grey_image([0] * 6))[:-20], "IMAGE_BROKEN", "damaged"),
        (encoded(grey_image([0] * 6))[:-8], "IMAGE_BROKEN", "damaged"),
        (encoded(grey_image([0] * 6), "JPEG")[:-20], "IMAGE_BROKEN", "damaged"),
        (b"\x89PNG\r\n\x1a\n", "IMAGE_BROKEN", "damaged"),
        (encoded(grey_image([0] * 6), "JPEG")[:-2], "IMAGE_BROKEN", "damaged"),
        (encoded(Image.new("CMYK", (3, 2)), "JPEG"), "IMAGE_FORMAT", "CMYK"),
        (encoded(grey_image([0] * 6), "GIF"), "IMAGE_FORMAT", "PNG or JPEG"),
        (b"", "IMAGE_FORMAT", "0 bytes"),
    ],
    ids=[
        "turned",
        "bomb",
        "half a bomb",
        "no pixels",
        "png cut",
        "png without its end",
        "jpeg cut",
        "magic alone",
        "jpeg without its end",
        "cmyk",
        "gif",
        "empty",
    ],
)
def test_an_image_that_does_not_fit_is_refused(tiny: Handler, content: bytes, reason: str, says: str) -> None:
    status, answer = over_http(tiny, content, PNG)
    assert (status, answer["reason"]) == (400, reason)
    assert says in answer["error"]


def test_an_image_for_a_model_of_numbers_is_refused(line: Handler) -> None:
    status, answer = over_http(line, encoded(grey_image([0] * 6)), PNG)
    assert (status, answer["reason"]) == (400, "DATATYPE_NOT_ACCEPTED")


# ---- other content ----


@pytest.mark.parametrize(
    "headers", [{}, {"Content-Type": "text/csv"}, {"Content-Type": "multipart/form-data"}]
)
def test_any_other_content_type_is_415(tiny: Handler, headers: dict[str, str]) -> None:
    status, answer = over_http(tiny, b"0.5", headers)
    assert (status, answer["reason"]) == (415, "CONTENT_TYPE_NOT_ACCEPTED")
    assert "application/json" in answer["error"]


@pytest.mark.parametrize(
    "headers",
    [{"Content-Type": "multipart/form-data; boundary=x"}, {"content-length": "0", "explain": "False"}],
    ids=["a form", "a query"],
)
@pytest.mark.parametrize(
    "row", [gateway_row(GREY, (1, 6)), dict.fromkeys(("data", "shape", "datatype"), "1")]
)
def test_the_gateways_names_over_http_make_no_row_of_the_gateway(
    tiny: Handler, headers: dict[str, str], row: dict[str, object]
) -> None:
    context = FakeContext(Path(), [{key: {"content-type": ""} for key in row} | headers])
    (reply,) = tiny.handle([row], context)
    assert context.statuses == [415]
    assert context.content_types == ["application/json"]
    assert json.loads(reply)["reason"] == "CONTENT_TYPE_NOT_ACCEPTED"


def test_a_row_without_a_body_is_refused(tiny: Handler) -> None:
    context = FakeContext(Path(), [JSON])
    tiny.handle([{}], context)
    assert context.statuses == [400]
