"""Pictures: what is read, how it becomes pixels, and what is refused before anything is decoded."""

from __future__ import annotations

import io
import json
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from seqserve.errors import InvalidRequest
from seqserve.images import MAX_PIXELS, decode_image
from seqserve.signature import Signature
from support.contract import signature_document


def _signature(*shape: int, **changes: Any) -> Signature:
    """Of a model of images, [channels, height, width]."""
    document = json.loads(signature_document("tiny_rgb")) | changes
    document["input"]["shape"] = [-1, *shape]
    document["example_shapes"] = [{"shape": shape, "layout": "CHW"}]
    return Signature.parse(json.dumps(document).encode())


GREY = _signature(1, 4, 6)
RGB = _signature(3, 4, 6)
SMALL = _signature(1, 2, 3, resize=True)
PIXELS = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
COLOURS = np.stack([PIXELS, PIXELS[::-1], 255 - PIXELS], axis=-1)
EXIF_UPSIDE_DOWN = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
IHDR_END = 33  # magic 8, length and kind 8, content 13, CRC 4


def _saved(pixels: npt.NDArray[Any] | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _header(width: int, height: int, *, interlace: int = 0) -> bytes:
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, interlace))


END = _chunk(b"IEND", b"")


def _refusal(blob: bytes, signature: Signature = GREY, index: int = 0) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refusal:
        decode_image(blob, signature, index)
    return refusal.value


@pytest.fixture
def undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if Pillow is asked for anything."""

    def never(*_: object, **__: object) -> None:
        pytest.fail("the file was handed to the decoder")

    monkeypatch.setattr(Image, "open", never)


def test_a_grey_png_gives_its_pixels() -> None:
    pixels = decode_image(_saved(PIXELS), GREY, 0)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, PIXELS)


def test_a_colour_png_gives_its_pixels() -> None:
    np.testing.assert_array_equal(decode_image(_saved(COLOURS), RGB, 0), COLOURS)


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_a_jpeg_gives_nearly_its_pixels(options: dict[str, Any]) -> None:
    pixels = decode_image(_saved(PIXELS, "JPEG", quality=100, **options), GREY, 0)
    assert np.abs(pixels.astype(int) - PIXELS).max() <= 3


def test_colour_becomes_grey_by_itu_r_601() -> None:
    expected = np.array(
        [[(299 * int(r) + 587 * int(g) + 114 * int(b)) / 1000 for r, g, b in row] for row in COLOURS]
    )
    pixels = decode_image(_saved(COLOURS), GREY, 0)
    assert np.abs(pixels - expected).max() <= 0.51


def test_grey_fills_all_three_channels() -> None:
    pixels = decode_image(_saved(PIXELS), RGB, 0)
    np.testing.assert_array_equal(pixels, np.stack([PIXELS] * 3, axis=-1))


def test_what_is_transparent_lies_over_black() -> None:
    alpha = np.full((4, 6), 255, np.uint8)
    alpha[0] = 0
    image = Image.fromarray(np.dstack([np.full((4, 6, 3), 200, np.uint8), alpha]))
    pixels = decode_image(_saved(image), GREY, 0)
    assert pixels[0].max() == 0
    assert pixels[1:].min() == pixels[1:].max() == 200


def test_half_transparent_grey_is_half_as_bright() -> None:
    image = Image.merge("LA", [Image.new("L", (6, 4), 200), Image.new("L", (6, 4), 128)])
    assert set(decode_image(_saved(image), GREY, 0).ravel().tolist()) == {100}


def test_a_transparent_palette_entry_is_black() -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([255, 255, 255, 90, 90, 90])
    image.putpixel((0, 0), 0)
    pixels = decode_image(_saved(image, transparency=0), GREY, 0)
    assert pixels[0, 0] == 0
    assert pixels[1, 1] == 90


def test_a_palette_png_is_looked_up() -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    np.testing.assert_array_equal(decode_image(_saved(image), RGB, 0)[0, 0], [10, 20, 30])


def test_a_bilevel_png_is_black_and_white() -> None:
    image = Image.fromarray(PIXELS > 100)
    np.testing.assert_array_equal(decode_image(_saved(image), GREY, 0), np.where(PIXELS > 100, 255, 0))


def test_sixteen_bit_grey_keeps_its_upper_bits() -> None:
    deep = PIXELS.astype(np.uint16) * 256 + 77
    np.testing.assert_array_equal(decode_image(_saved(deep), GREY, 0), PIXELS)


def test_sixteen_bit_grey_with_a_transparent_colour_is_refused() -> None:
    plain = _saved(PIXELS.astype(np.uint16) * 256)
    blob = plain[:IHDR_END] + _chunk(b"tRNS", b"\0\0") + plain[IHDR_END:]
    refused = _refusal(blob)
    assert refused.detail == "IMAGE_FORMAT"
    assert "16-bit" in refused.came


def test_an_interlaced_png_gives_the_same_pixels() -> None:
    passes = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]
    parts = [PIXELS[top::down, left::right] for left, top, right, down in passes]
    scan = b"".join(b"\0" + row.tobytes() for part in parts for row in part if len(row))
    blob = PNG_MAGIC + _header(6, 4, interlace=1) + _chunk(b"IDAT", zlib.compress(scan)) + END
    np.testing.assert_array_equal(decode_image(blob, GREY, 0), PIXELS)


def test_exif_does_not_turn_the_image() -> None:
    exif = EXIF_UPSIDE_DOWN
    turned = decode_image(_saved(PIXELS, "JPEG", exif=exif), GREY, 0)
    np.testing.assert_array_equal(turned, decode_image(_saved(PIXELS, "JPEG"), GREY, 0))


@pytest.mark.usefixtures("undecoded")
@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP", "TIFF", "PPM", "ICO"])
def test_other_formats_are_refused_by_their_first_bytes(kind: str) -> None:
    assert _refusal(_saved(PIXELS, kind)).detail == "IMAGE_FORMAT"


@pytest.mark.usefixtures("undecoded")
def test_no_bytes_are_refused() -> None:
    refused = _refusal(b"")
    assert refused.detail == "IMAGE_FORMAT"
    assert "nothing" in refused.came


@pytest.mark.usefixtures("undecoded")
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_another_size_is_refused_before_decoding_and_both_sizes_are_said(kind: str) -> None:
    refused = _refusal(_saved(PIXELS.T.copy(), kind), index=3)
    assert refused.detail == "IMAGE_SIZE"
    assert refused.field == "image[3]"
    assert "4x6" in refused.came
    assert "6x4" in refused.accepted


@pytest.mark.usefixtures("undecoded")
def test_a_bomb_is_refused_by_its_header() -> None:
    blob = PNG_MAGIC + _header(60000, 60000) + _chunk(b"IDAT", zlib.compress(bytes(10**6)))
    refused = _refusal(blob)
    assert refused.detail == "IMAGE_SIZE"
    assert "60000x60000" in refused.came


@pytest.mark.usefixtures("undecoded")
@pytest.mark.parametrize("size", [(4097, 1), (1, 4097), (4001, 4000), (60000, 60000), (0, 1)])
def test_what_is_too_large_to_be_resized_is_refused_by_its_header(size: tuple[int, int]) -> None:
    blob = PNG_MAGIC + _header(*size) + _chunk(b"IDAT", zlib.compress(bytes(10**6)))
    refused = _refusal(blob, SMALL)
    assert refused.detail == "IMAGE_SIZE"
    assert f"{size[0]}x{size[1]}" in refused.came
    assert refused.accepted == "1 to 4096 pixels a side, and 16000000 in all"


def test_the_largest_picture_that_is_resized() -> None:
    side = int(MAX_PIXELS**0.5)
    picture = Image.new("L", (side, side), 90)
    picture.paste(30, (0, 0, side, side // 2))
    # The other half counts a seventh.
    np.testing.assert_array_equal(decode_image(_saved(picture), SMALL, 0), [[39] * 3, [81] * 3])


def test_a_model_of_images_beyond_the_bounds_takes_them_as_they_are() -> None:
    wide = np.arange(5000, dtype=np.uint16).astype(np.uint8)[np.newaxis]
    np.testing.assert_array_equal(decode_image(_saved(wide), _signature(1, 1, 5000, resize=True), 0), wide)


@pytest.mark.parametrize("where", ["load", "convert"])
def test_a_want_of_memory_is_no_broken_file(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    blob = _saved(PIXELS)
    monkeypatch.setattr(PngImageFile, where, fail)
    with pytest.raises(MemoryError):
        decode_image(blob, GREY, 0)


def test_a_model_without_images_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="line takes no images"):
        decode_image(_saved(PIXELS), Signature.parse(signature_document("line")), 0)


def test_a_second_header_with_another_size_is_refused() -> None:
    whole = _saved(PIXELS)
    refused = _refusal(whole[:IHDR_END] + _header(5000, 5000) + whole[IHDR_END:])
    assert refused.detail == "IMAGE_BROKEN"


def test_a_second_frame_with_another_size_is_refused() -> None:
    whole = _saved(PIXELS, "JPEG")
    frame = whole.index(b"\xff\xc0")
    end = frame + 2 + int.from_bytes(whole[frame + 2 : frame + 4])
    second = bytearray(whole[frame:end])
    second[5:9] = struct.pack(">HH", 5000, 5000)
    assert _refusal(whole[:end] + bytes(second) + whole[end:]).detail == "IMAGE_BROKEN"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_file_cut_off_anywhere_is_refused(kind: str) -> None:
    whole = _saved(PIXELS, kind)
    reasons = {_refusal(whole[:length]).detail for length in range(len(whole))}
    assert reasons == {"IMAGE_FORMAT", "IMAGE_BROKEN"}


def test_a_png_with_any_byte_changed_is_refused() -> None:
    whole = _saved(PIXELS)
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x55
        assert _refusal(bytes(changed)).detail.startswith("IMAGE_")


def test_a_png_without_its_header_chunk_is_refused() -> None:
    blob = PNG_MAGIC + _chunk(b"tEXt", b"key\0" + b"value" * 9) + END
    assert _refusal(blob).detail == "IMAGE_BROKEN"


def test_a_png_with_too_few_rows_is_refused() -> None:
    blob = PNG_MAGIC + _header(6, 4) + _chunk(b"IDAT", zlib.compress(bytes(7)))
    assert _refusal(blob + END).detail == "IMAGE_BROKEN"


def test_a_png_whose_pixels_do_not_inflate_is_refused() -> None:
    blob = PNG_MAGIC + _header(6, 4) + _chunk(b"IDAT", b"not deflated") + END
    assert _refusal(blob).detail == "IMAGE_BROKEN"


def test_a_jpeg_without_a_frame_is_refused() -> None:
    assert _refusal(b"\xff\xd8\xff\xda\0\x02" + b"\xff\xd9").detail == "IMAGE_BROKEN"


def test_a_cmyk_jpeg_is_refused() -> None:
    refused = _refusal(_saved(Image.new("CMYK", (6, 4)), "JPEG"))
    assert refused.detail == "IMAGE_FORMAT"
    assert "CMYK" in refused.came


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["PNG", "JPEG"]),
    st.integers(0, 10**6),
    st.binary(min_size=1, max_size=8),
    st.sampled_from([RGB, SMALL]),
)
def test_damaged_files_are_pixels_or_a_refusal(kind: str, at: int, junk: bytes, signature: Signature) -> None:
    whole = _saved(COLOURS, kind)
    position = at % len(whole)
    damaged = whole[:position] + junk + whole[position + len(junk) :]
    try:
        outcome = str(decode_image(damaged, signature, 0).shape)
    except InvalidRequest as refusal:
        outcome = refusal.detail
    assert outcome in {"(4, 6, 3)", "(2, 3)", "IMAGE_FORMAT", "IMAGE_SIZE", "IMAGE_BROKEN"}
