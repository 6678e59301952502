"""What is sent: arrays, numbers and pictures as messages of `seqserve.v1`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from seqserve.pb.v1 import prediction_pb2 as pb

DATATYPES = {
    "float32": "FP32",
    "float16": "FP16",
    "uint8": "UINT8",
    "int8": "INT8",
    "int16": "INT16",
    "uint16": "UINT16",
}
MAX_TOP_K = 2**32 - 1
"""Of the protocol's uint32; 0 asks for what the gateway gives by itself."""
Examples = npt.ArrayLike | bytes | Sequence[bytes]
"""What one request asks about.

A PNG or JPEG file, or a list of them; or numbers, one example or a batch, as the model's shapes say:

- Arrays and numpy scalars keep their dtype, one of DATATYPES. uint8 means pixels on an image model.
- Python's own numbers, and lists of nothing else, become float32.
- A single number is one example of a model that accepts the shape [].
"""


def predict_request(examples: Examples, *, model: str, version: str, top_k: int) -> pb.PredictRequest:
    """The message.

    Raises TypeError for what is neither numbers that the protocol carries nor pictures, and ValueError for
    lists whose parts differ in length, and for a `top_k` that the protocol does not carry.
    """
    if not 0 <= top_k <= MAX_TOP_K:
        raise ValueError(f"top_k: {top_k}; accepted: 0 to {MAX_TOP_K}")
    request = pb.PredictRequest(model=model, version=version, top_k=top_k)
    pictures = _pictures(examples)
    if pictures is None:
        request.tensor.CopyFrom(_tensor(_array(examples)))
    else:
        request.images.encoded.extend(pictures)
    return request


def _pictures(examples: Examples) -> list[bytes] | None:
    """Files, or None for numbers."""
    if isinstance(examples, bytes | bytearray):
        return [bytes(examples)]
    if isinstance(examples, list | tuple) and all(isinstance(file, bytes) for file in examples):
        return list(examples)
    return None


def _array(examples: Examples) -> npt.NDArray[Any]:
    if _is_plain(examples):
        return np.asarray(examples, np.float32)
    return np.asarray(examples)


def _is_plain(examples: Examples) -> bool:
    """Whether they are Python's own numbers, whose dtype is numpy's choice and nobody's wish.

    numpy's float64 is a float by inheritance, and still somebody's wish.
    """
    if isinstance(examples, list | tuple):
        return all(map(_is_plain, examples))
    return isinstance(examples, int | float) and not isinstance(examples, bool | np.generic)


def _tensor(array: npt.NDArray[Any]) -> pb.Tensor:
    datatype = DATATYPES.get(array.dtype.name)
    if datatype is None:
        raise TypeError(
            f"examples of dtype {array.dtype.name}; accepted: {', '.join(DATATYPES)}, Python's numbers, "
            f"and PNG or JPEG files as bytes (float64 is cut by .astype(np.float32), if you want that)"
        )
    little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
    # A tensor of the protocol has at least one dimension: a lone number is a batch of one.
    return pb.Tensor(datatype=datatype, shape=array.shape or (1,), content=little_endian.tobytes())
