"""Builds the files of images.json from their recipes, and damages them as a case says.

A PNG is put together here, chunk by chunk, so that it can be wrong where a writer never is:

    {"png": {"size": [3, 2], "depth": 8, "colour": 0, "scan": "00 0A 14 …"}}

scan: the rows before deflation, in hex, each behind its filter byte. Optional: `interlace`, `extra`
(chunks between header and pixels, [kind, hex]), `stored` (hex of the pixels' chunk itself) and `leave_out`
(kinds of chunks). Other files: {"jpeg": {"mode", "size", "pixels", …options of Pillow,
`exif` and `comment` in hex}}, {"hex"}, {"text"}.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

Recipe = dict[str, Any]

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"
FLIPPED_BITS = 0x55


def picture(recipe: Recipe) -> bytes:
    """The file of a case, with what `then` does to it: cut (as a slice's end), flip a byte, add bytes, scans."""
    content = _whole(recipe)
    for step in recipe.get("then", []):
        if "cut" in step:
            content = content[: step["cut"]]
        elif "flip" in step:
            content = flipped(content, step["flip"])
        elif "scans" in step:
            content = _scanned(content, **step)
        else:
            content += bytes.fromhex(step["add"])
    return content


def flipped(content: bytes, position: int) -> bytes:
    """The file with some bits of one byte turned over."""
    changed = bytearray(content)
    changed[position] ^= FLIPPED_BITS
    return bytes(changed)


def chunk(kind: str, content: bytes) -> bytes:
    """A chunk of a PNG with its length and checksum."""
    named = kind.encode() + content
    return struct.pack(">I", len(content)) + named + struct.pack(">I", zlib.crc32(named))


def _scanned(content: bytes, *, scans: int, between: str = "") -> bytes:
    """A JPEG with its last scan again and again, until there are as many scans as asked for."""
    last = content[content.rindex(SCAN) : -len(JPEG_END)]
    again = (bytes.fromhex(between) + last) * (scans - content.count(SCAN))
    return content[: -len(JPEG_END)] + again + JPEG_END


def _whole(recipe: Recipe) -> bytes:
    if "png" in recipe:
        return _png(**recipe["png"])
    if "jpeg" in recipe:
        return _jpeg(**recipe["jpeg"])
    return bytes.fromhex(recipe["hex"]) if "hex" in recipe else str(recipe["text"]).encode()


def _png(
    *,
    size: tuple[int, int],
    depth: int,
    colour: int,
    scan: str,
    interlace: int = 0,
    extra: tuple[tuple[str, str], ...] = (),
    stored: str = "",
    leave_out: tuple[str, ...] = (),
) -> bytes:
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlace)
    pixels = bytes.fromhex(stored) or zlib.compress(bytes.fromhex(scan))
    chunks = [("IHDR", header), *((kind, bytes.fromhex(content)) for kind, content in extra)]
    chunks += [("IDAT", pixels), ("IEND", b"")]
    return PNG_MAGIC + b"".join(chunk(*one) for one in chunks if one[0] not in leave_out)


def _jpeg(
    *, mode: str, size: tuple[int, int], pixels: list[int], exif: str = "", comment: str = "", **options: Any
) -> bytes:
    buffer = io.BytesIO()
    width, height = size
    image = Image.frombytes(mode, (width, height), bytes(pixels))
    image.save(buffer, "JPEG", exif=bytes.fromhex(exif), comment=bytes.fromhex(comment), **options)
    return buffer.getvalue()
