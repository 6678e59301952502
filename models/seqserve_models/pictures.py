"""Examples as pictures for a page: PNG inside a data URI, where an example is a picture at all."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from seqserve_models.dataset import Values
from seqserve_models.definition import ModelInterface

GREY, COLOURS = 1, 3


def picture_of(interface: ModelInterface, example: Values) -> str | None:
    """A data URI of one example, FP32 in any shape that the model accepts; None where it is no picture."""
    pixels = _pixels(interface, example)
    if pixels is None or pixels.shape[2] not in (GREY, COLOURS):  # no screen has other channels
        return None
    low = float(example.min()) if interface.minimum is None else interface.minimum
    high = float(example.max()) if interface.maximum is None else interface.maximum
    scaled = np.clip((pixels - low) / max(high - low, 1e-12), 0, 1)
    levels = np.rint(scaled * 255).astype(np.uint8)
    image = Image.fromarray(levels if levels.shape[2] == COLOURS else levels[:, :, 0])
    target = io.BytesIO()
    image.save(target, "PNG")
    return f"data:image/png;base64,{base64.b64encode(target.getvalue()).decode()}"


def _pixels(interface: ModelInterface, example: Values) -> Values | None:
    """[height, width, channels]; flat rows are read as the model's own picture is laid out."""
    layouts = {shape: layout for shape, layout in interface.accepted_shapes if layout != "flat"}
    shape = example.shape if example.shape in layouts else interface.input_shape
    if shape not in layouts and layouts:
        shape = next(iter(layouts))
    if shape not in layouts:
        return None
    array = example.reshape(shape)
    layout = layouts[shape]
    if layout == "HW":
        return array[:, :, np.newaxis]
    return array.transpose(1, 2, 0) if layout == "CHW" else array
