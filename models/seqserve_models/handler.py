"""The TorchServe handler inside every archive: decode each row, run the good ones together, answer each.

It travels alone, so it imports nothing but the standard library, numpy, torch and, once an image
arrives, PIL. A row with the keys `data`, `shape` and `datatype` and without headers comes from the
gateway and is answered in bytes: a status (0 rows follow, 1 refused, 2 failed inside) and FP32
little-endian rows or UTF-8 text. Any other row comes over HTTP, is read by its Content-Type and
answered as JSON.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import math
import os
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

LOG = logging.getLogger(__name__)
THREADS_VARIABLE = "SEQSERVE_TORCHSERVE_THREADS"
# TorchServe ends a worker whose reply is above `max_response_size`; 6553500 is what that is by default.
REPLY_VARIABLE, REPLY_BYTES = "SEQSERVE_TORCHSERVE_REPLY_BYTES", "6553500"
MAX_HTTP_EXAMPLES = 1024  # in one request; while they are run, nobody else is answered
MAX_RANK = 8
MAX_ELEMENTS = 2**63 - 1
MAX_FLOAT = float(np.finfo(np.float32).max)
CAME_CHARACTERS = 64
INTERNAL_TEXT = "the model failed on this request; the server's log says why"
INTERNAL_STATUS, TOO_LARGE_STATUS = 500, 413
TOP_K_PATTERN = re.compile(r"[0-9]{1,9}")
SHAPE_PATTERN = re.compile(r" *-?[0-9]{1,19} *(, *-?[0-9]{1,19} *)*")
IMAGE_FORMATS = ("PNG", "JPEG")
PNG_MAGIC, JPEG_MAGIC = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}  # what pixels depend on
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type, as the bits of each
PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# First column, first row and their steps in each pass of an interlaced PNG.
PNG_PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
JPEG_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
JPEG_METADATA = {*range(0xE1, 0xF0), 0xFE} - {0xEE}  # Adobe's APP14 says how colours are stored
JPEG_FILL, JPEG_SCAN, JPEG_END = 0xFF, 0xDA, 0xD9
# A marker behind a scan, whose own FF are followed by 00 or by a restart's D0 to D7.
JPEG_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")
MAX_JPEG_SCANS = 100  # each may be a few bytes, and costs a pass over all pixels
MAX_JPEG_SEGMENTS = 1000  # before the first scan, and again behind it
MAX_SIDE, MAX_IMAGE_PIXELS = 4096, 16_000_000  # of images that are resized
CONTENT_TYPES = ("application/json", "image/png", "image/jpeg", "application/octet-stream")
GATEWAY_KEYS = ("data", "shape", "datatype")
IMAGE_DATATYPES = ("FP32", "FP16", "BF16", "UINT8")
NUMBER_DATATYPES = (*IMAGE_DATATYPES, "INT8", "INT16", "UINT16")
# BF16 is read as its bits: they are the upper half of the FP32 number.
STORED = dict(zip(NUMBER_DATATYPES, ("<f4", "<f2", "<u2", "u1", "i1", "<i2", "<u2"), strict=True))
JSON_ACCEPTED = 'lists of numbers, equally long at each level, alone or as {"instances": ...}'

Values = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Content = bytes | bytearray
Shape = tuple[int, ...]
Document = dict[str, Any]
Result = TypeVar("Result")


class Refused(Exception):
    """A row without an answer: a stable reason, a text for its sender, the HTTP status (500: our fault)."""

    def __init__(self, reason: str, text: str, status: int = 400) -> None:
        self.reason, self.text, self.status = reason, text, status
        super().__init__(f"{reason}: {text}")


def refusal(reason: str, signature: Document, came: object, accepted: str, status: int = 400) -> Refused:
    """Name the input, what came (escaped, at most 64 characters) and what would be accepted."""
    text = str(came).encode("unicode_escape").decode("ascii")
    text = text if len(text) <= CAME_CHARACTERS else f"{text[: CAME_CHARACTERS - 3]}..."
    return Refused(reason, f"{signature['input']['name']}: {text}; accepted: {accepted}", status)


def attempt(step: Callable[[], Result]) -> Result | Refused:
    """Give the step's result or its refusal; anything unexpected goes to the log and becomes a fixed text."""
    try:
        return step()
    except Refused as refused:
        return refused
    except Exception:
        LOG.exception("a row failed")
        return Refused("INTERNAL", INTERNAL_TEXT, INTERNAL_STATUS)


# ---- tensors: bytes, datatype and shape to rows ----


def decode(
    content: Content, datatype: str, shape: Shape, signature: Document, max_examples: int | None = None
) -> Values:
    """Rows [n, *example] FP32 in the model's own example shape. Raises Refused at the first failed check."""
    check_datatype(datatype, signature)
    check_dimensions(shape, signature)
    example = accepted_example(shape, signature)
    check_examples(math.prod(shape) // math.prod(example["shape"]), signature, max_examples)
    check_length(len(content), datatype, shape, signature)
    values = read_numbers(content, datatype)
    if datatype == "UINT8" and takes_images(signature):
        values = values / np.float32(255)
    check_values(values, shape, signature)
    return to_own_shape(values.reshape(-1, *example["shape"]), example["layout"], signature)


def takes_images(signature: Document) -> bool:
    """Whether some accepted shape has a height and a width."""
    return any(example["layout"] != "flat" for example in signature["example_shapes"])


def check_datatype(datatype: str, signature: Document) -> None:
    """Image models take intensities and pixels, others also numbers by value."""
    accepted = IMAGE_DATATYPES if takes_images(signature) else NUMBER_DATATYPES
    if datatype not in accepted:
        raise refusal("DATATYPE_NOT_ACCEPTED", signature, datatype or "no datatype", ", ".join(accepted))


def check_dimensions(shape: Shape, signature: Document) -> None:
    """Rank 1 to 8, every dimension at least 1, a product within int64."""
    if not 1 <= len(shape) <= MAX_RANK:
        raise refusal("RANK_NOT_ACCEPTED", signature, written(shape), f"1 to {MAX_RANK} dimensions")
    if min(shape) < 1:
        raise refusal("DIMENSION_NOT_POSITIVE", signature, written(shape), "dimensions of at least 1")
    if math.prod(shape) > MAX_ELEMENTS:
        raise refusal("SHAPE_OVERFLOW", signature, written(shape), "a number of elements within 64 bits")


def accepted_example(shape: Shape, signature: Document) -> Document:
    """Find the example shape that this is a batch of, or else is itself. Element counts never decide."""
    accepted = {tuple(example["shape"]): example for example in signature["example_shapes"]}
    found: Document | None = accepted.get(shape[1:], accepted.get(shape))
    if found is None:
        forms = ", ".join(written(form) for one in accepted for form in (("n", *one), one) if form)
        raise refusal("SHAPE_NOT_ACCEPTED", signature, written(shape), forms)
    return found


def check_examples(count: int, signature: Document, max_examples: int | None) -> None:
    """At most so many; a batch of the gateway has bounds of its own."""
    if max_examples is not None and count > max_examples:
        accepted = f"at most {max_examples} in one request"
        raise refusal("TOO_MANY_EXAMPLES", signature, f"{count} examples", accepted)


def check_length(length_bytes: int, datatype: str, shape: Shape, signature: Document) -> None:
    """Exactly as many bytes as datatype and shape say."""
    expected = math.prod(shape) * np.dtype(STORED[datatype]).itemsize
    if length_bytes != expected:
        accepted = f"{expected} bytes for {datatype} {written(shape)}"
        raise refusal("BYTE_LENGTH_MISMATCH", signature, f"{length_bytes} bytes", accepted)


def read_numbers(content: Content, datatype: str) -> Values:
    """Little-endian numbers as FP32; every accepted datatype fits exactly."""
    stored = np.frombuffer(content, STORED[datatype])
    if datatype == "BF16":
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float32, copy=not stored.flags.writeable)  # torch wants them writable


def check_values(values: Values, shape: Shape, signature: Document) -> None:
    """Finite, and within the signature's range where it has one."""
    minimum, maximum = signature.get("minimum"), signature.get("maximum")
    least = -MAX_FLOAT if minimum is None else minimum
    most = MAX_FLOAT if maximum is None else maximum
    if least <= values.min() and values.max() <= most:  # false for NaN as well
        return
    finite = np.isfinite(values)
    if not finite.all():
        raise refusal("NOT_FINITE", signature, at_first(values, ~finite, shape), "finite numbers")
    outside = np.zeros(values.shape, np.bool_)
    if minimum is not None:
        outside |= values < minimum
    if maximum is not None:
        outside |= values > maximum
    if outside.any():
        raise refusal("OUT_OF_RANGE", signature, at_first(values, outside, shape), range_text(signature))


def range_text(signature: Document) -> str:
    """`0 to 1`, `at least 0` or `at most 1`; on images with the likely slip."""
    minimum, maximum = signature.get("minimum"), signature.get("maximum")
    if maximum is None:
        return f"at least {minimum:g}"
    if minimum is None:
        return f"at most {maximum:g}"
    hint = "; did you send 0 to 255? use UINT8" if takes_images(signature) else ""
    return f"{minimum:g} to {maximum:g}{hint}"


def at_first(values: Values, wrong: npt.NDArray[np.bool_], shape: Shape) -> str:
    """`3.7 at [0,12,4]`: the first wrong value and where the sender finds it."""
    first = int(np.argmax(wrong))
    position = tuple(int(axis) for axis in np.unravel_index(first, shape))
    return f"{str(values[first]).removesuffix('.0')} at {written(position)}"


def to_own_shape(rows: Values, layout: str, signature: Document) -> Values:
    """Rows in the model's own example shape; only between CHW and HWC do axes change places."""
    own = tuple(signature["input"]["shape"][1:])
    own_layout = {tuple(one["shape"]): one["layout"] for one in signature["example_shapes"]}.get(own)
    if layout == "HWC" and own_layout == "CHW":
        rows = rows.transpose(0, 3, 1, 2)
    elif layout == "CHW" and own_layout == "HWC":
        rows = rows.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(rows).reshape(-1, *own)


def written(shape: tuple[object, ...]) -> str:
    """`[2,28,28]`."""
    return f"[{','.join(str(size) for size in shape)}]"


# ---- what arrives over HTTP: JSON, images, raw tensors ----


def decode_json(content: object, signature: Document) -> Values:
    """Decode nested lists of numbers, alone or under `instances`; the nesting is the shape of an FP32 tensor.

    TorchServe hands over a JSON body that it could parse as the parsed value, any other as its bytes.
    """
    try:
        document = json.loads(content) if isinstance(content, bytes | bytearray) else content
    except (ValueError, RecursionError):
        raise refusal("JSON_MALFORMED", signature, "no readable JSON", JSON_ACCEPTED) from None
    if isinstance(document, dict):
        document = document.get("instances")
    shape, numbers = unnest(document, signature)
    try:
        with np.errstate(over="ignore"):  # beyond FP32 becomes infinite and is refused as such
            tensor = np.array(numbers, np.float64).astype("<f4")
    except OverflowError:
        raise refusal("NOT_FINITE", signature, "a number beyond FP64", "finite numbers") from None
    return decode(tensor.tobytes(), "FP32", shape, signature, MAX_HTTP_EXAMPLES)


def unnest(document: object, signature: Document) -> tuple[Shape, list[Any]]:
    """Shape and numbers of nested lists, level by level. Raises Refused for ragged lists or other values."""
    shape: list[int] = []
    level: list[Any] = [document]
    while level and isinstance(level[0], list):
        lengths = {len(item) if isinstance(item, list) else -1 for item in level}
        if len(lengths) > 1:
            raise refusal("JSON_RAGGED", signature, f"uneven lists at depth {len(shape) + 1}", JSON_ACCEPTED)
        shape.append(len(level[0]))
        if len(shape) > MAX_RANK:
            break
        level = list(chain.from_iterable(level))
    check_dimensions(tuple(shape), signature)
    wrong = {type(item).__name__ for item in level if type(item) not in (int, float)}
    if wrong:
        raise refusal("JSON_NOT_NUMBERS", signature, ", ".join(sorted(wrong)), JSON_ACCEPTED)
    return tuple(shape), level


def decode_raw(content: Content, headers: dict[str, str], signature: Document) -> Values:
    """Bytes of a tensor whose shape and datatype stand in the headers."""
    text, datatype = headers.get("x-tensor-shape", ""), headers.get("x-tensor-datatype", "")
    if re.fullmatch(SHAPE_PATTERN, text) is None:
        raise refusal("SHAPE_NOT_ACCEPTED", signature, f"X-Tensor-Shape {text!r}", "sizes like 5,28,28")
    shape = tuple(int(size) for size in text.split(","))
    return decode(content, datatype, shape, signature, MAX_HTTP_EXAMPLES)


def decode_image(content: Content, signature: Document) -> Values:
    """One PNG or JPEG as one row, resized and inverted as the signature says.

    Raises Refused, where the gateway does.
    """
    if not takes_images(signature):
        raise refusal("DATATYPE_NOT_ACCEPTED", signature, "an image", ", ".join(NUMBER_DATATYPES))
    if not content.startswith((PNG_MAGIC, JPEG_MAGIC)):
        raise refusal("IMAGE_FORMAT", signature, f"{len(content)} bytes of another kind", "PNG or JPEG")
    height, width, channels = image_size(signature)
    try:
        pixels = read_pixels(content, (width, height), "L" if channels == 1 else "RGB", signature)
        pixels = 255 - pixels if signature.get("invert") else pixels
    except (Refused, ImportError):  # without PIL, the fault is not the file's
        raise
    except Exception:  # noqa: BLE001  # what the checks and PIL's decoders raise on damaged files
        raise refusal("IMAGE_BROKEN", signature, "a damaged image", "a whole PNG or JPEG") from None
    values = pixels.astype(np.float32) / np.float32(255)
    return to_own_shape(values.reshape(1, height, width, channels), "HWC", signature)


def image_size(signature: Document) -> Shape:
    """Height, width and channels of the model's images."""
    example = next(one for one in signature["example_shapes"] if one["layout"] != "flat")
    size = tuple(example["shape"])
    return {"HW": (*size, 1), "CHW": (*size[1:], size[0]), "HWC": size}[example["layout"]]


def read_pixels(content: Content, size: tuple[int, int], mode: str, signature: Document) -> Pixels:
    """Pixels of a whole image in mode L or RGB, alpha over black. Raises whatever it finds damaged."""
    from PIL import Image  # noqa: PLC0415  # only where an image arrives

    came = header_size(content)
    check_image_size(came, size, signature)  # before anything is decoded
    whole = checked_file(content, signature)
    image: Image.Image = Image.open(io.BytesIO(whole), formats=IMAGE_FORMATS)
    if image.size != came:
        raise ValueError("a second header with another size")
    image.load()
    is_deep = image.mode.startswith("I")  # 16-bit grey
    if image.mode == "CMYK" or (is_deep and image.has_transparency_data):
        raise refusal("IMAGE_FORMAT", signature, f"{image.mode} pixels", "grey or RGB, 8 bits with alpha")
    if is_deep:  # convert() would cut off at 255, the upper 8 bits count
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.has_transparency_data:
        black = Image.new("RGBA", came, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return np.asarray(image.convert(mode).resize(size, Image.Resampling.BILINEAR))


def check_image_size(came: tuple[int, int], size: tuple[int, int], signature: Document) -> None:
    """Width and height are the model's, or within bounds where it says `resize`. Raises Refused."""
    accepted = f"{size[0]}x{size[1]} pixels"
    if signature.get("resize"):
        if min(came) > 0 and max(came) <= MAX_SIDE and math.prod(came) <= MAX_IMAGE_PIXELS:
            return
        accepted = f"1 to {MAX_SIDE} pixels a side, and {MAX_IMAGE_PIXELS} in all"
    if came != size:
        raise refusal("IMAGE_SIZE", signature, f"{came[0]}x{came[1]} pixels", accepted)


def header_size(content: Content) -> tuple[int, int]:
    """Width and height from a PNG's header chunk or a JPEG's first frame header."""
    if content.startswith(JPEG_MAGIC):
        frame = next(at for marker, at in jpeg_segments(content) if marker in JPEG_FRAMES)
        height, width = struct.unpack_from(">HH", content, frame + 3)
        return width, height
    length, kind, width, height = struct.unpack_from(">I4sII9x", content, len(PNG_MAGIC))
    if (length, kind) != (13, b"IHDR"):
        raise ValueError("no header")
    return width, height


def checked_file(content: Content, signature: Document) -> Content:
    """A whole file without its metadata: PIL would inflate texts without end, and warn of each faulty tag.

    Raises for what PIL would fill up: a JPEG's end behind its scans, or a PNG's chunks and rows of pixels.
    """
    if content.startswith(PNG_MAGIC):
        content, scan = png_pixels(content)
        expected = png_scan_bytes(content)
        if len(zlib.decompressobj().decompress(scan, expected)) < expected:
            raise ValueError("too few rows")
        return content
    content, first_scan = jpeg_pixels(content)
    if jpeg_scans(content, first_scan) > MAX_JPEG_SCANS:
        came = f"a JPEG of more than {MAX_JPEG_SCANS} scans"
        raise refusal("IMAGE_FORMAT", signature, came, f"at most {MAX_JPEG_SCANS} scans")
    return content


def jpeg_segments(content: Content) -> Iterator[tuple[int, int]]:
    """Marker, and where it ends, of each segment up to the first scan."""
    marker, at = 0, 2
    for _ in range(MAX_JPEG_SEGMENTS):
        if content[at] != JPEG_FILL:
            raise ValueError("no marker where one is due")
        while content[at] == JPEG_FILL:
            at += 1
        marker, at = content[at], at + 1
        if marker not in JPEG_WITHOUT_LENGTH:
            yield marker, at
            if marker == JPEG_SCAN:
                return
            at += int.from_bytes(content[at : at + 2], "big")
    raise ValueError("too many segments")


def jpeg_pixels(content: Content) -> tuple[bytearray, int]:
    """A JPEG without its metadata, and where in it the first scan's marker ends."""
    kept, taken, first_scan = bytearray(), 0, 0
    for marker, at in jpeg_segments(content):
        if marker in JPEG_METADATA:
            kept += content[taken : at - 2]
            taken = at + int.from_bytes(content[at : at + 2], "big")
        first_scan = len(kept) + at - taken
    return kept + content[taken:], first_scan


def jpeg_scans(content: Content, first: int) -> int:
    """How many scans there are up to the end, or one more than are accepted. first: where its marker ends."""
    scans, marker, at = 0, JPEG_SCAN, first
    for _ in range(MAX_JPEG_SEGMENTS):
        scans += marker == JPEG_SCAN
        if scans > MAX_JPEG_SCANS:
            return scans
        following = JPEG_MARKER.search(content, at + int.from_bytes(content[at : at + 2], "big"))
        if following is None:
            raise ValueError("no end")
        marker, at = following[1][0], following.end()
        if marker == JPEG_END:
            return scans
    raise ValueError("too many segments")


def png_pixels(content: Content) -> tuple[bytearray, bytearray]:
    """A PNG without what its pixels do not depend on, and the deflated pixels.

    Its chunks are all there, with their checksums, to the end chunk.
    """
    kept, scan, kind, at = bytearray(PNG_MAGIC), bytearray(), b"", len(PNG_MAGIC)
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 8 + length
        (checksum,) = struct.unpack_from(">I", content, end)
        if zlib.crc32(content[at + 4 : end]) != checksum:
            raise ValueError("a wrong checksum")
        kept += content[at : end + 4] if kind in PNG_PIXELS else b""
        scan += content[at + 8 : end] if kind == b"IDAT" else b""
        at = end + 4
    return kept, scan


def png_scan_bytes(content: Content) -> int:
    """How many bytes the rows inflate to: a filter byte and the pixels of each, in every pass."""
    width, height, depth, colour, interlace = struct.unpack_from(">IIBBxxB", content, 16)
    passes = [
        (len(range(left, width, right_by)), len(range(top, height, down_by)))
        for left, top, right_by, down_by in (PNG_PASSES if interlace else ((0, 0, 1, 1),))
    ]
    if depth not in PNG_DEPTHS[colour]:  # the file would say how much is inflated
        raise ValueError("no such depth")
    bits = depth * PNG_CHANNELS[colour]
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in passes if columns)


# ---- rows as TorchServe hands them over, and their replies ----


def is_gateway(row: Document, headers: dict[str, str]) -> bool:
    """Whether a row has the gateway's keys, each with bytes, and came by gRPC: without any header.

    A form or a query may use these names, but TorchServe hands over the headers of every HTTP request.
    """
    return not headers and all(isinstance(row.get(key), bytes | bytearray) for key in GATEWAY_KEYS)


def decode_gateway(row: Document, signature: Document) -> Values:
    """Decode a row of the gateway: raw content, int64 little-endian sizes, an ASCII datatype."""
    content, sizes, datatype = (row[key] for key in GATEWAY_KEYS)
    if len(sizes) % 8:
        raise refusal("RANK_NOT_ACCEPTED", signature, f"{len(sizes)} bytes of shape", "8 for each dimension")
    shape = tuple(np.frombuffer(sizes, "<i8").tolist())
    return decode(content, datatype.decode("ascii", "backslashreplace"), shape, signature)


def decode_http(row: Document, headers: dict[str, str], signature: Document) -> Values:
    """Decode a row of an HTTP caller, by its Content-Type alone."""
    content = row.get("body", b"")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return decode_json(content, signature)
    if kind in ("image/png", "image/jpeg"):
        return decode_image(content, signature)
    if kind == "application/octet-stream":
        return decode_raw(content, headers, signature)
    came = kind or "no Content-Type"
    raise refusal("CONTENT_TYPE_NOT_ACCEPTED", signature, came, ", ".join(CONTENT_TYPES), status=415)


def listed_classes(headers: dict[str, str], signature: Document) -> int | None:
    """How many of the best classes X-Top-K asks for; None without it. Raises Refused."""
    text = headers.get("x-top-k")
    if text is None:
        return None
    if signature["task"] != "classification":
        accepted = "no X-Top-K, since this model gives values and no classes"
        raise refusal("TOP_K_NOT_ACCEPTED", signature, f"X-Top-K {text!r}", accepted)
    if re.fullmatch(TOP_K_PATTERN, text) is None or int(text) == 0:
        raise refusal(
            "TOP_K_NOT_ACCEPTED", signature, f"X-Top-K {text!r}", "a whole number from 1 to 999999999"
        )
    return int(text)


def gateway_body(outcome: Values | Refused) -> bytes:
    """Status byte, then rows or text; TorchServe's gRPC would turn an HTTP status into OK."""
    if not isinstance(outcome, Refused):
        return b"\0" + outcome.astype("<f4").tobytes()
    if outcome.status == INTERNAL_STATUS:
        return b"\2" + outcome.text.encode()
    return b"\1" + f"{outcome.reason}: {outcome.text}".encode()


def predictions_body(outputs: Values, signature: Document, top_k: int | None = None) -> bytes:
    """JSON with one prediction an example. Raises ValueError where an output is not finite."""
    rows = outputs.reshape(len(outputs), -1)
    if not np.isfinite(rows).all():  # JSON has no word for it, and the best classes would not show it
        raise ValueError("the model gave a number that is not finite")
    predictions: list[Any] = rows.tolist()
    if signature["task"] == "classification":
        predictions = [classified(row, signature.get("labels"), top_k) for row in rows]
    document = {
        "model_name": signature["name"],
        "model_version": signature["version"],
        "predictions": predictions,
    }
    return json.dumps(document).encode()


def classified(probabilities: Values, labels: list[str] | None, top_k: int | None) -> Document:
    """Winning class, ties to the lower index, and all probabilities or else the best `top_k` classes."""
    listed = probabilities.tolist()
    if top_k is None:
        return {**one_class(int(np.argmax(probabilities)), listed, labels), "probabilities": listed}
    order = np.argsort(-probabilities, kind="stable")[:top_k].tolist()
    best = [one_class(index, listed, labels) for index in order]
    return {**best[0], "top_k": best}


def one_class(index: int, probabilities: list[float], labels: list[str] | None) -> Document:
    """Label where there are labels, index and probability."""
    named = {"label": labels[index]} if labels else {}
    return {**named, "index": index, "probability": probabilities[index]}


# ---- the model and TorchServe's two calls ----


class Handler:
    """One loaded archive in one worker."""

    def initialize(self, context: Any) -> None:
        """Load signature and model from `model_dir`. Raises RuntimeError where a member is not as packed."""
        torch.set_num_threads(int(os.environ.get(THREADS_VARIABLE, "1")))
        self.max_reply_bytes = int(os.environ.get(REPLY_VARIABLE, REPLY_BYTES))
        folder, gpu_id = (context.system_properties.get(key) for key in ("model_dir", "gpu_id"))
        on_gpu = gpu_id is not None and torch.cuda.is_available()
        self.device = torch.device(f"cuda:{gpu_id}" if on_gpu else "cpu")
        self.signature: Document = json.loads(verified_member(Path(folder), "signature.json"))
        torchscript = verified_member(Path(folder), context.manifest["model"]["serializedFile"])
        self.module = load_module(torchscript, self.device)

    def handle(self, rows: list[Document], context: Any) -> list[bytes]:
        """One reply a row; a row's fault stays its own."""
        inputs = [attempt(partial(self.read, row, context, index)) for index, row in enumerate(rows)]
        answered = zip(rows, self.predict(inputs), strict=True)
        return [self.reply(row, outcome, context, index) for index, (row, outcome) in enumerate(answered)]

    def read(self, row: Document, context: Any, index: int) -> Values:
        """Decode a row. Raises Refused."""
        headers = request_headers(context, index)
        if is_gateway(row, headers):
            return decode_gateway(row, self.signature)
        listed_classes(headers, self.signature)  # a wrong one is refused before the model runs
        return decode_http(row, headers, self.signature)

    def predict(self, outcomes: list[Values | Refused]) -> list[Values | Refused]:
        """Turn inputs into outputs in one run; what was refused stays where it is."""
        inputs = [outcome for outcome in outcomes if not isinstance(outcome, Refused)]
        if not inputs:
            return outcomes
        outputs = attempt(lambda: self.infer(joined(inputs)))
        if isinstance(outputs, Refused):
            return [outcome if isinstance(outcome, Refused) else outputs for outcome in outcomes]
        parts = iter(np.split(outputs, np.cumsum([len(rows) for rows in inputs])[:-1]))
        return [outcome if isinstance(outcome, Refused) else next(parts) for outcome in outcomes]

    def infer(self, inputs: Values) -> Values:
        """[n, *example] FP32 to [n, *output] FP32, in parts of at most `max_batch_size`."""
        size = self.signature["max_batch_size"]
        return joined([self.forward(inputs[at : at + size]) for at in range(0, len(inputs), size)])

    def forward(self, batch: Values) -> Values:
        """One forward pass. Raises RuntimeError where the output is not what the signature says."""
        with torch.inference_mode():
            outputs: Values = self.module(torch.from_numpy(batch).to(self.device)).cpu().numpy()
        expected = (len(batch), *self.signature["output"]["shape"][1:])
        if outputs.shape != expected or outputs.dtype != np.float32:
            raise RuntimeError(
                f"the model gave {outputs.dtype} {outputs.shape}, its signature says {expected}"
            )
        return outputs

    def reply(self, row: Document, outcome: Values | Refused, context: Any, index: int) -> bytes:
        """Body of one reply; an HTTP caller's status and the content type go through the context."""
        headers = request_headers(context, index)
        if is_gateway(row, headers):
            context.set_response_content_type(index, "application/octet-stream")
            return gateway_body(outcome)
        context.set_response_content_type(index, "application/json")
        body = outcome if isinstance(outcome, Refused) else attempt(partial(self.answer, outcome, headers))
        if isinstance(body, Refused):
            context.set_response_status(code=body.status, idx=index)
            return json.dumps({"error": body.text, "reason": body.reason}).encode()
        return body

    def answer(self, outputs: Values, headers: dict[str, str]) -> bytes:
        """JSON of an HTTP caller's predictions. Raises Refused where it is too long for TorchServe."""
        body = predictions_body(outputs, self.signature, listed_classes(headers, self.signature))
        if len(body) > self.max_reply_bytes:
            text = f"the reply has more than {self.max_reply_bytes} bytes; send fewer examples at once"
            raise Refused("MESSAGE_TOO_LARGE", text, TOO_LARGE_STATUS)
        return body


def joined(parts: list[Values]) -> Values:
    """One after the other along the batch; a single one as it is."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def verified_member(folder: Path, member: str) -> bytes:
    """Read a member that agrees with SHA256SUMS. Raises RuntimeError where it does not."""
    lines = (folder / "SHA256SUMS").read_text("utf-8").splitlines()
    digests = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    content = (folder / member).read_bytes()
    if hashlib.sha256(content).hexdigest() != digests.get(member):
        raise RuntimeError(f"{member} differs from SHA256SUMS: the archive was changed after it was built")
    return content


def load_module(content: bytes, device: torch.device) -> torch.nn.Module:
    """TorchScript on its device, for inference, without TF32."""
    torch.backends.cudnn.allow_tf32 = False
    with warnings.catch_warnings():  # torch advises against TorchScript, which is the archive's format
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        module: torch.nn.Module = torch.jit.load(io.BytesIO(content), map_location=device)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return module.eval()


def request_headers(context: Any, index: int) -> dict[str, str]:
    """HTTP headers by lower-case name; TorchServe keeps the sender's case and mixes in dicts of its own."""
    headers = context.get_all_request_header(index)
    return {name.lower(): value for name, value in headers.items() if isinstance(value, str)}


HANDLER = Handler()


def handle(data: list[Document] | None, context: Any) -> list[bytes] | None:
    """Answer TorchServe: it calls once without rows to load, then with each batch."""
    if data is None:
        HANDLER.initialize(context)
        return None
    return HANDLER.handle(data, context)
