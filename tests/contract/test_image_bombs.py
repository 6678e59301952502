"""Small files that would become large, to the gateway's decoder and to the archive's handler: none of them does."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from support.memory import MIB, process_peak
from support.picture_decoders import Decode, each_decoder
from support.pictures import PNG_MAGIC, chunk

PIXELS = np.arange(0, 240, 40, dtype=np.uint8).reshape(2, 3)
ROWS = b"".join(b"\0" + row.tobytes() for row in PIXELS)
MUCH = 64 * MIB
LITTLE = 8 * MIB
SIDE = 4000
"""The largest square that a model of pictures of any size takes."""


def png(
    *, extra: bytes = b"", scan: bytes = ROWS, size: tuple[int, int] = (3, 2), depth: int = 8, colour: int = 0
) -> bytes:
    """A PNG with these chunks between its header and its pixels."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    pixels = chunk("IDAT", zlib.compress(scan))
    return PNG_MAGIC + chunk("IHDR", header) + extra + pixels + chunk("IEND", b"")


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "JPEG", quality=100)
    return buffer.getvalue()


def jpeg_with(segments: bytes) -> bytes:
    """A JPEG with these segments behind its start."""
    return jpeg()[:2] + segments + jpeg()[2:]


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG whose header says so."""
    content = bytearray(jpeg())
    struct.pack_into(">HH", content, content.index(b"\xff\xc0") + 5, height, width)
    return bytes(content)


def segment(marker: int, content: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def texts(kind: str, behind_key: bytes, count: int) -> bytes:
    """So many texts of a PNG, each small enough for Pillow, and with four bytes a character where it is UTF-8."""
    packed = zlib.compress("\N{GRINNING FACE}".encode() + b"x" * (MIB // 2), 9)
    return b"".join(chunk(kind, b"%d\0" % key + behind_key + packed) for key in range(count))


def international_texts() -> bytes:
    return png(extra=texts("iTXt", b"\x01\0\0\0", 50))


def compressed_texts() -> bytes:
    return png(extra=texts("zTXt", b"\0", 100))


def a_profile() -> bytes:
    return png(extra=chunk("iCCP", b"profile\0\0" + zlib.compress(bytes(MUCH), 9)))


def an_animation() -> bytes:
    """One picture, and a thousand more of 4000x4000 that are promised and whose rows never end."""
    control = chunk("acTL", struct.pack(">II", 2**31 - 1, 0))
    frame = chunk("fcTL", struct.pack(">IIIIIHHBB", 1, SIDE, SIDE, 0, 0, 1, 1, 0, 0))
    pixels = chunk("fdAT", struct.pack(">I", 2) + zlib.compress(bytes(MUCH), 9))
    return png(extra=control)[: -len(chunk("IEND", b""))] + (frame + pixels) * 3 + chunk("IEND", b"")


def rows_without_end() -> bytes:
    return png(scan=ROWS + bytes(MUCH))


def pieces_of_nothing() -> bytes:
    """Twelve bytes each, which are nothing of the picture."""
    return png(extra=chunk("IDAT", b"") * 300_000)


def tags() -> bytes:
    """A JPEG's EXIF, of thousands of tags that lie about where they are and how long."""
    count = 5000
    entries = b"".join(struct.pack("<HHII", 1000 + tag, 7, 2**30, 8) for tag in range(count))
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + bytes(4)
    return jpeg_with(segment(0xE1, b"Exif\0\0" + data))


HARMLESS = [
    international_texts, compressed_texts, a_profile, an_animation, rows_without_end, pieces_of_nothing, tags
]  # fmt: skip


@each_decoder
@pytest.mark.parametrize("made", HARMLESS, ids=lambda made: made.__name__)
def test_what_pixels_do_not_depend_on_takes_no_memory(decode: Decode, made: Callable[[], bytes]) -> None:
    content = made()
    plain = decode(jpeg() if content.startswith(b"\xff") else png(), "tiny_image")
    with process_peak() as peak, warnings.catch_warnings():
        warnings.simplefilter("error")  # each would be a line on standard error that no logger knows
        rows = decode(content, "tiny_image")

    np.testing.assert_array_equal(rows, plain)
    assert not isinstance(rows, str), rows
    assert peak.bytes < LITTLE + 2 * len(content)


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "100000x100000": (lambda: png(size=(100_000, 100_000), scan=bytes(MIB)), "IMAGE_SIZE"),
    "2147483647x2147483647": (lambda: png(size=(2**31 - 1, 2**31 - 1), depth=16, colour=6), "IMAGE_SIZE"),
    "a JPEG of 65535x65535": (lambda: jpeg_of_size(65535, 65535), "IMAGE_SIZE"),
    "255 bits a sample": (
        lambda: png(size=(SIDE, SIDE), depth=255, colour=6, scan=bytes(MUCH)), "IMAGE_BROKEN",
    ),
    "fewer rows than promised": (lambda: png(size=(SIDE, SIDE), depth=16, colour=6), "IMAGE_BROKEN"),
    "segments": (lambda: jpeg_with(segment(0xE0) * 300_000), "IMAGE_BROKEN"),
    "comments": (lambda: jpeg_with(segment(0xFE) * 300_000), "IMAGE_BROKEN"),
    "comments behind the pixels": (
        lambda: jpeg()[:-2] + segment(0xFE) * 300_000 + jpeg()[-2:], "IMAGE_BROKEN",
    ),
}  # fmt: skip
"""Small files, and the reason of their refusal by a model that takes every size."""


@each_decoder
@pytest.mark.parametrize("name", REFUSED)
def test_what_would_become_large_is_refused_before_it_has(decode: Decode, name: str) -> None:
    made, reason = REFUSED[name]
    content = made()
    with process_peak() as peak:
        outcome = decode(content, "any_size")

    assert outcome == reason
    assert peak.bytes < LITTLE + len(content)


@each_decoder
@pytest.mark.parametrize(
    "content", [png(size=(SIDE, SIDE)), jpeg_of_size(65_535, 65_535)], ids=["PNG", "JPEG"]
)
def test_a_model_of_one_size_refuses_others_by_the_header(decode: Decode, content: bytes) -> None:
    with process_peak() as peak:
        outcome = decode(content, "tiny_image")

    assert outcome == "IMAGE_SIZE"
    assert peak.bytes < LITTLE


@each_decoder
@pytest.mark.parametrize("made", [png, jpeg, *(made for made in HARMLESS if made is not pieces_of_nothing)])
def test_half_of_it_is_refused_as_well(decode: Decode, made: Callable[[], bytes]) -> None:
    content = made()
    with process_peak() as peak:
        outcome = decode(content[: len(content) // 2], "tiny_image")

    assert outcome == "IMAGE_BROKEN"
    assert peak.bytes < LITTLE + 2 * len(content)


@each_decoder
def test_the_metadata_of_a_camera_is_read_over(decode: Decode) -> None:
    """As much of it as fills a message; only so many segments are refused that no writer makes."""
    exif = segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + bytes(6))
    profile = b"".join(
        segment(0xE2, b"ICC_PROFILE\0" + bytes([part, 255]) + bytes(60_000)) for part in range(1, 256)
    )

    np.testing.assert_array_equal(
        decode(jpeg_with(exif + profile + segment(0xFE, b"a comment")), "tiny_image"),
        decode(jpeg(), "tiny_image"),
    )
