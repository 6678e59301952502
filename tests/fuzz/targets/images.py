"""A picture: to pixels, or refused, by the gateway and by the archive's handler alike."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from fuzz.signatures import DOCUMENTS, OF_IMAGES, SIGNATURES
from fuzz.target import Cursor, Target, check_words
from fuzz.targets.tensors import check_rows
from seqserve.errors import InvalidRequest
from seqserve.images import decode_image
from seqserve.tensors import FloatArray, rows_of_pixels
from seqserve_models import handler
from support.contract import cases
from support.pictures import PNG_MAGIC, chunk, picture

AS_IT_IS, SUMS_MADE_RIGHT, WRITTEN = range(3)
MODES = (AS_IT_IS, SUMS_MADE_RIGHT, WRITTEN)
KINDS = ("PLTE", "tRNS", "tEXt", "zTXt", "iCCP", "eXIf", "acTL", "fcTL", "fdAT", "gAMA", "IDAT", "IHDR")
FRAME_BYTES = 12


def check(data: bytes) -> None:
    """Decode a picture both ways."""
    cursor = Cursor(data)
    name, mode = cursor.choice(OF_IMAGES), cursor.choice(MODES)
    blob = _written(cursor) if mode == WRITTEN else cursor.rest()
    if mode == SUMS_MADE_RIGHT:
        blob = _with_right_sums(blob)
    ours, theirs = _by_gateway(blob, name), _by_handler(blob, name)
    np.testing.assert_array_equal(ours, theirs)
    if not isinstance(ours, str):
        check_rows(ours, SIGNATURES[name])


def _by_gateway(blob: bytes, name: str) -> FloatArray | str:
    signature = SIGNATURES[name]
    try:
        pixels = decode_image(blob, signature, 0)
    except InvalidRequest as refused:
        check_words(refused)
        return refused.detail
    assert pixels.dtype == np.uint8
    return rows_of_pixels(pixels[np.newaxis], signature)


def _by_handler(blob: bytes, name: str) -> FloatArray | str:
    try:
        return handler.decode_image(bytearray(blob), DOCUMENTS[name])
    except handler.Refused as refused:
        assert refused.status != handler.INTERNAL_STATUS
        return refused.reason


def _with_right_sums(blob: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what they hold now, which a mutator never finds."""
    fixed, at = bytearray(blob), len(PNG_MAGIC)
    while at + FRAME_BYTES <= len(fixed):
        end = at + 8 + int.from_bytes(fixed[at : at + 4], "big")
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(fixed[at + 4 : end]))
        at = end + 4
    return bytes(fixed)


def _written(cursor: Cursor) -> bytes:
    """A PNG with any header, one more chunk, and any rows, deflated."""
    width, height, depth, colour, interlace = (cursor.number() for _ in range(5))
    header = struct.pack(">IIBBBBB", width % 33, height % 33, depth % 17, colour % 8, 0, 0, interlace % 3)
    kind, length = cursor.choice(KINDS), cursor.number()
    more = chunk(kind, cursor.take(length)) if length else b""
    rows = zlib.compress(cursor.rest(), 1)
    return PNG_MAGIC + chunk("IHDR", header) + more + chunk("IDAT", rows) + chunk("IEND", b"")


def seeds() -> list[bytes]:
    """The contract's pictures, as they are and to be written anew."""
    found = []
    for case in cases("images.json"):
        blob = picture(case)
        if len(blob) > TARGET.max_bytes - 2:
            continue
        index = OF_IMAGES.index(case["signature"])
        found.append(bytes([index, AS_IT_IS]) + blob)
        if blob.startswith(PNG_MAGIC):
            found.append(bytes([index, SUMS_MADE_RIGHT]) + blob)
    written = [(3, 2, 8, 0, 0), (3, 2, 16, 0, 0), (3, 2, 8, 3, 0), (3, 2, 8, 6, 1), (2, 2, 8, 2, 1)]
    return found + [bytes([0, WRITTEN, *head, 0, 0]) + bytes(64) for head in written]


TARGET = Target(
    "images",
    check,
    seeds,
    (
        *(kind.encode() for kind in KINDS), b"IEND", PNG_MAGIC, b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9",
        b"\xff\xc0", b"\xff\xc2", b"\xff\xc4", b"\xff\xdb", b"\xff\xdd", b"\xff\xee", b"\xff\xe1", b"Adobe", b"JFIF",
    ),
    few=500,
)  # fmt: skip
