"""Makes a photo of a digit look like the training data, and says what it did."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from seqserve.cli.faults import Refused

INK_THRESHOLD = 48  # of 255, above the ground: what counts as ink when cropping
BOX_SHARE = 20 / 28  # digits fill 20 of 28 pixels in MNIST (LeCun, Cortes, Burges)
# Pillow's words for a damaged file; SyntaxError is a broken chunk of a PNG.
UNREADABLE = (OSError, SyntaxError, ValueError)
MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 0)
"""Where Pillow refuses a picture; from half of it on it warns."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A file as it is sent, and the steps that led to it (none: it is the caller's own)."""

    file: bytes
    steps: tuple[str, ...]


def prepare(path: Path, height: int, width: int, *, is_inverted_later: bool = False) -> Picture:
    """Read a picture and fit it to height by width pixels, white ink on black. Raises Refused.

    is_inverted_later: the model turns pixels over itself, so it gets black ink on white.
    """
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            if image.size == (width, height):
                return Picture(path.read_bytes(), ())
            grey = np.asarray(image.convert("L"))
    except Image.DecompressionBombError as error:  # by the header, before anything is unpacked
        raise Refused(f"{path}: it is too large; at most {MAX_PIXELS} pixels are read") from error
    except UNREADABLE as error:
        raise Refused(f"{path}: no readable PNG or JPEG") from error
    steps = []
    is_light = _is_light_ground(grey)
    if is_light:
        grey = np.asarray(255 - grey, dtype=np.uint8)
    if is_light != is_inverted_later:
        steps.append("inverted")
    cropped = _crop(grey)
    if cropped.shape != grey.shape:
        steps.append(f"cropped to {cropped.shape[1]}x{cropped.shape[0]}")
    steps.append(f"resized to {width}x{height}")
    centred = _centre(cropped, height, width)
    return Picture(_png(ImageOps.invert(centred) if is_inverted_later else centred), tuple(steps))


def _is_light_ground(grey: npt.NDArray[np.uint8]) -> bool:
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return bool(np.median(edge) > 127)  # noqa: PLR2004 - the middle of 0 to 255


def _crop(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    ink = grey > min(int(np.median(grey)) + INK_THRESHOLD, 254)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return grey
    return grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _centre(grey: npt.NDArray[np.uint8], height: int, width: int) -> Image.Image:
    scale = min(height / grey.shape[0], width / grey.shape[1]) * BOX_SHARE
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    canvas = Image.new("L", (width, height), 0)
    digit = Image.fromarray(grey).resize(size, Image.Resampling.LANCZOS)
    canvas.paste(digit, ((width - size[0]) // 2, (height - size[1]) // 2))
    return canvas


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
