"""PNG and JPEG files to pixels, exactly as large as the model wants them.

Nothing is decoded before the size in the file's header has been compared with the signature, so a
small file that claims to be a huge picture costs nothing. Where the signature says `resize`, other sizes
within MAX_SIDE and MAX_PIXELS are accepted and stretched. Metadata (EXIF, profiles, text) is ignored and
never reaches the decoder: Pillow would inflate 64 KB of a PNG's text to hundreds of megabytes, and write a
warning for each faulty tag of a JPEG.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from seqserve.errors import InvalidRequest
from seqserve.signature import ImageSize, Signature

PixelArray = npt.NDArray[np.uint8]

MAX_SIDE = 4096
MAX_PIXELS = 16_000_000
# Each may be a few bytes, and costs a pass over all pixels. Progressive files have about ten.
MAX_JPEG_SCANS = 100
# All before the first scan, and again all behind it. Four bytes make one; 16 MB of EXIF or profiles have 256.
MAX_JPEG_SEGMENTS = 1000
# Its weights are never negative, so ink gets no halo as with LANCZOS. It averages all pixels where a picture
# shrinks and interpolates where it grows; BOX would give blocks there.
RESAMPLING = Image.Resampling.BILINEAR

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
_ACCEPTED = "a whole PNG or JPEG file"

# JPEG markers, ITU-T T.81 table B.1. C4, C8 and CC lie among the frame headers and are none.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
# APP1 to APP15 and comments, but for Adobe's APP14, which says how colours are stored.
_JPEG_METADATA = frozenset({*range(0xE1, 0xF0), 0xFE}) - {0xEE}
_JPEG_MARKER_BYTES = 2
_JPEG_SCAN = 0xDA
_JPEG_END = 0xD9
# A marker behind a scan, whose own FF are followed by 00 or by a restart's D0 to D7.
_JPEG_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")
# The chunks that pixels depend on; an animation's further frames are in others.
_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG_CHUNK_FRAME = 12  # length, kind and CRC, 4 bytes each
# PNG: samples of a pixel and their possible bits by colour type.
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# Adam7's passes as first column, first row and their steps.
_PNG_PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
_JPEG_FRAME_SIZE_AT = 3  # behind the segment's length (2 bytes) and the precision (1 byte)


class _BrokenError(Exception):
    """What is wrong with a file, in words for its sender."""


class _UnsupportedError(Exception):
    """A whole file whose pixels have no plain meaning as grey or RGB."""


def decode_image(blob: bytes, signature: Signature, index: int) -> PixelArray:
    """UINT8 pixels of the model's image: [height, width] for one channel, [height, width, 3] for RGB.

    index names the picture in errors (`image[3]`). Colour becomes grey by ITU-R 601, what is transparent
    lies over black, of 16 bits the upper 8 count, a grey file fills all of RGB. Only then is it resized
    and at last inverted, where the signature says so.
    Raises InvalidRequest: IMAGE_FORMAT, IMAGE_SIZE, IMAGE_BROKEN; ValueError for a model without images.
    """
    if signature.image_size is None:
        raise ValueError(f"{signature.name} takes no images")
    size, where = signature.image_size, f"{signature.input.name}[{index}]"
    try:
        is_png = _is_png(blob)
        came = _png_size(blob) if is_png else _jpeg_size(blob)  # (width, height)
        _check_size(came, size, where, may_differ=signature.resize)
        blob = _checked_png(blob) if is_png else _checked_jpeg(blob)
        image = _decoded(blob, "PNG" if is_png else "JPEG", came, size.channels)
    except _UnsupportedError as error:
        raise InvalidRequest("IMAGE_FORMAT", field=where, came=error, accepted="PNG or JPEG") from error
    except _BrokenError as error:
        raise InvalidRequest("IMAGE_BROKEN", field=where, came=error, accepted=_ACCEPTED) from error
    pixels: PixelArray = np.asarray(image.resize((size.width, size.height), RESAMPLING))
    return 255 - pixels if signature.invert else pixels


def _is_png(blob: bytes) -> bool:
    """Whether PNG's magic is there; the alternative is JPEG's, and nothing else is accepted."""
    if blob.startswith(_PNG_MAGIC):
        return True
    if blob.startswith(_JPEG_MAGIC):
        return False
    raise _UnsupportedError(f"a file that begins with {blob[:8].hex(' ') or 'nothing'}")


def _check_size(came: tuple[int, int], size: ImageSize, where: str, *, may_differ: bool) -> None:
    """Whether a picture, (width, height), is the model's, or one that can be made so."""
    is_bounded = min(came) >= 1 and max(came) <= MAX_SIDE and came[0] * came[1] <= MAX_PIXELS
    if came == (size.width, size.height) or (may_differ and is_bounded):
        return
    bounds = f"1 to {MAX_SIDE} pixels a side, and {MAX_PIXELS} in all"
    raise InvalidRequest(
        "IMAGE_SIZE",
        field=where,
        came=f"{came[0]}x{came[1]} pixels (width x height)",
        accepted=bounds if may_differ else f"{size.width}x{size.height}",
    )


def _png_size(blob: bytes) -> tuple[int, int]:
    """(width, height) from the IHDR chunk, which comes first in every PNG."""
    if len(blob) < len(_PNG_MAGIC) + _PNG_CHUNK_FRAME + 13:
        raise _BrokenError("a PNG cut off in its header")
    length, kind, width, height = struct.unpack_from(">I4sII", blob, len(_PNG_MAGIC))
    if (length, kind) != (13, b"IHDR"):
        raise _BrokenError("a PNG without its header")
    return width, height


def _checked_png(blob: bytes) -> bytes:
    """The file without its metadata; it is whole: all chunks with their CRCs, and all rows of pixels."""
    kept, scan = bytearray(_PNG_MAGIC), bytearray()
    for kind, content, chunk in _png_chunks(blob):
        if kind in _PNG_PIXELS:
            kept += chunk
        if kind == b"IDAT":
            scan += content
    _check_png_scan(scan, _png_scan_bytes(blob))
    return bytes(kept)


def _check_png_scan(scan: bytearray, expected: int) -> None:
    try:
        inflated = len(zlib.decompressobj().decompress(scan, expected))
    except zlib.error as error:
        raise _BrokenError("a PNG that does not inflate") from error
    if inflated < expected:  # Pillow would leave the missing rows black
        raise _BrokenError("a PNG with too few rows")


def _png_chunks(blob: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """(kind, content, all of it) of every chunk up to the end chunk."""
    view = memoryview(blob)
    position = len(_PNG_MAGIC)
    kind = b""
    while kind != b"IEND":
        if len(blob) < position + _PNG_CHUNK_FRAME:
            raise _BrokenError("a PNG that is cut off")
        length, kind = struct.unpack_from(">I4s", blob, position)
        end = position + _PNG_CHUNK_FRAME + length
        if end > len(blob):
            raise _BrokenError("a PNG that is cut off")
        (checksum,) = struct.unpack_from(">I", blob, end - 4)
        if zlib.crc32(view[position + 4 : end - 4]) != checksum:
            raise _BrokenError("a PNG with a wrong checksum")
        yield kind, view[position + 8 : end - 4], view[position:end]
        position = end


def _png_scan_bytes(blob: bytes) -> int:
    """How many bytes the rows inflate to: a filter byte and the pixels of each, in every pass."""
    width, height, depth, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", blob, 16)
    if depth not in _PNG_DEPTHS.get(colour, ()):  # the file would say how much is inflated
        raise _BrokenError(f"a PNG of colour type {colour} with {depth} bits")
    bits = depth * _PNG_CHANNELS[colour]
    total = 0
    for left, top, right_by, down_by in _PNG_PASSES if interlace else ((0, 0, 1, 1),):
        columns = len(range(left, width, right_by))
        rows = len(range(top, height, down_by))
        total += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    return total


def _jpeg_segments(blob: bytes) -> Iterator[tuple[int, int]]:
    """(marker, start of its segment) of each segment up to the first scan."""
    position = 2
    marker = segments = 0
    while marker != _JPEG_SCAN:
        segments = _one_more(segments)
        if blob[position : position + 1] != b"\xff":
            raise _BrokenError("a JPEG that is cut off or has no scan")
        while blob[position : position + 1] == b"\xff":  # any number of them may fill up
            position += 1
        if position + 3 > len(blob):
            raise _BrokenError("a JPEG that is cut off")
        marker = blob[position]
        position += 1
        if marker in _JPEG_WITHOUT_LENGTH:
            continue
        yield marker, position
        position += int.from_bytes(blob[position : position + 2])


def _jpeg_size(blob: bytes) -> tuple[int, int]:
    """(width, height) from the first frame header."""
    for marker, start in _jpeg_segments(blob):
        if marker in _JPEG_FRAMES and start + _JPEG_FRAME_SIZE_AT + 4 <= len(blob):
            height, width = struct.unpack_from(">HH", blob, start + _JPEG_FRAME_SIZE_AT)
            return width, height
    raise _BrokenError("a JPEG without a size before its first scan")


def _checked_jpeg(blob: bytes) -> bytes:
    """The file without its metadata; it has an end and not too many scans."""
    kept, taken = bytearray(), 0
    for marker, start in _jpeg_segments(blob):
        if marker in _JPEG_METADATA:
            kept += blob[taken : start - _JPEG_MARKER_BYTES]
            taken = start + int.from_bytes(blob[start : start + 2])
        elif marker == _JPEG_SCAN:
            _check_jpeg_scans(blob, start)
    return bytes(kept + blob[taken:])


def _check_jpeg_scans(blob: bytes, position: int) -> None:
    """The file has an end, since a decoder fills up what is missing there. position: of the first scan."""
    marker, scans, segments = _JPEG_SCAN, 0, 0
    while marker != _JPEG_END:
        scans, segments = scans + (marker == _JPEG_SCAN), _one_more(segments)
        if scans > MAX_JPEG_SCANS:
            raise _UnsupportedError(f"a JPEG of more than {MAX_JPEG_SCANS} scans")
        following = _JPEG_MARKER.search(blob, position + int.from_bytes(blob[position : position + 2]))
        if following is None:
            raise _BrokenError("a JPEG that is cut off")
        marker, position = following[1][0], following.end()


def _one_more(segments: int) -> int:
    if segments == MAX_JPEG_SEGMENTS:
        raise _BrokenError(f"a JPEG of more than {MAX_JPEG_SEGMENTS} segments")
    return segments + 1


def _decoded(blob: bytes, format_name: str, size: tuple[int, int], channels: int) -> Image.Image:
    """The picture in mode L or RGB. A file may carry a second header: Pillow's own size is compared too."""
    try:
        image = Image.open(io.BytesIO(blob), formats=(format_name,))
        if image.size == size:
            image.load()
            return _converted(image, channels)
    except (_UnsupportedError, MemoryError):
        raise
    except Exception as error:  # Pillow raises what it likes on damaged files, some of it when it converts
        raise _BrokenError(f"a {format_name} that cannot be decoded") from error
    raise _BrokenError(f"a {format_name} with two different sizes")


def _converted(image: Image.Image, channels: int) -> Image.Image:
    """The picture in mode L or RGB."""
    if image.mode == "CMYK":
        raise _UnsupportedError("a CMYK JPEG")
    if image.mode.startswith("I"):  # 16-bit grey; convert() would clip where colours are shifted
        image = _upper_bits(image)
    elif image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return image.convert("L" if channels == 1 else "RGB")


def _upper_bits(image: Image.Image) -> Image.Image:
    """Bits 15 to 8 of 16-bit grey."""
    if image.has_transparency_data:
        raise _UnsupportedError("a 16-bit grey PNG with a transparent colour")
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
