"""Tensors from the wire to rows of FP32, and rows in and out of batches.

Pure functions. A tensor is checked in a fixed order (datatype, rank, dimensions, product, shape,
number of examples, byte length, values), so that the first thing wrong is the one reported. Only
shapes decide what an array means; the number of elements never does.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn, cast

import numpy as np
import numpy.typing as npt

from seqserve.errors import InvalidRequest
from seqserve.signature import Layout, Signature

FloatArray = npt.NDArray[np.float32]
PixelArray = npt.NDArray[np.uint8]

MAX_RANK = 8
MAX_ELEMENTS = 2**63 - 1  # shapes are int64 on the wire, and so is their product
MAX_REQUEST_EXAMPLES = 1024

# OIP datatype → how its elements lie in bytes. BF16 has no dtype of NumPy: it is read as its 16 bits.
_STORED: dict[str, np.dtype[np.generic]] = {
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "UINT8": np.dtype("u1"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "UINT16": np.dtype("<u2"),
}
_OF_IMAGES = {name: _STORED[name] for name in ("FP32", "FP16", "BF16", "UINT8")}
_ACCEPTED_BY_IMAGES = "FP32, FP16, BF16 (0 to 1), UINT8 (pixels), BYTES (PNG or JPEG)"
_BITS_OF_ONE = np.uint32(0x3F800000)
_BYTES_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class RawTensor:
    """One input as it came.

    shape: as sent, unchecked. content: little-endian elements, row-major; a memoryview is flat and
    of bytes. For BYTES: each element behind its length, 4 bytes little-endian.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    content: bytes | memoryview


def decode(
    tensor: RawTensor, signature: Signature, max_request_examples: int = MAX_REQUEST_EXAMPLES
) -> FloatArray:
    """Rows [n, *example] FP32, C-contiguous, in the model's own example shape.

    A read-only view of `tensor.content` where the bytes already are such rows, else a copy. UINT8
    on an image model is pixels, divided by 255; elsewhere numbers count by their value. Pictures
    (BYTES) go through `split_bytes`. Raises InvalidRequest.
    """
    stored = _stored_dtype(tensor, signature)
    elements = _check_dimensions(tensor)
    examples, example_shape = _match_shape(tensor, signature)
    _check_examples(tensor.name, examples, max_request_examples)
    if len(tensor.content) != elements * stored.itemsize:
        raise InvalidRequest(
            "BYTE_LENGTH_MISMATCH",
            field=tensor.name,
            came=f"{len(tensor.content)} bytes",
            accepted=f"{elements * stored.itemsize} bytes for {tensor.datatype} of {_words(tensor.shape)}",
        )
    numbers = _to_float32(np.frombuffer(tensor.content, stored), tensor.datatype, signature)
    _check_values(numbers, tensor, signature)
    batch = numbers.reshape(examples, *example_shape)
    return _to_own_layout(batch, signature.layouts[example_shape], signature)


def join_bytes(elements: Iterable[bytes]) -> bytes:
    """BYTES in raw form: each element behind its length, 4 bytes little-endian."""
    return b"".join(_BYTES_LENGTH.pack(len(element)) + element for element in elements)


def split_bytes(
    tensor: RawTensor, signature: Signature, max_request_examples: int = MAX_REQUEST_EXAMPLES
) -> list[bytes]:
    """The elements of a BYTES tensor in raw form: n encoded pictures for shape [n] or [n,1].

    Every length is compared with what is left before anything is cut out. Raises InvalidRequest.
    """
    count = count_pictures(tensor, signature, max_request_examples)
    content = memoryview(tensor.content)
    pictures: list[bytes] = []
    while content:
        if len(pictures) == count:
            _refuse_framing(tensor, f"{len(content)} bytes behind the last element")
        if len(content) < _BYTES_LENGTH.size:
            _refuse_framing(tensor, f"{len(content)} bytes where a length of 4 was due")
        (length,) = _BYTES_LENGTH.unpack_from(content)
        content = content[_BYTES_LENGTH.size :]
        if length > len(content):
            _refuse_framing(tensor, f"length {length} with {len(content)} bytes left")
        pictures.append(bytes(content[:length]))
        content = content[length:]
    if len(pictures) != count:
        _refuse_framing(tensor, f"{len(pictures)} elements")
    return pictures


def count_pictures(
    tensor: RawTensor, signature: Signature, max_request_examples: int = MAX_REQUEST_EXAMPLES
) -> int:
    """How many elements the shape of a BYTES tensor claims; its content is not looked at.

    Raises InvalidRequest for a model that takes no images and for shapes other than [n] and [n,1].
    """
    if signature.image_size is None:
        _refuse_datatype(tensor, signature)
    _check_dimensions(tensor)
    if len(tensor.shape) > 2 or tensor.shape[1:] not in ((), (1,)):  # noqa: PLR2004 (as in [n,1])
        raise InvalidRequest(
            "SHAPE_NOT_ACCEPTED",
            field=tensor.name,
            came=_words(tensor.shape),
            accepted="[n] or [n,1] for BYTES",
        )
    _check_examples(tensor.name, tensor.shape[0], max_request_examples)
    return tensor.shape[0]


def rows_of_pixels(pixels: PixelArray, signature: Signature) -> FloatArray:
    """UINT8 pictures [n, height, width] or [n, height, width, 3] to rows [n, *example] FP32."""
    numbers = pixels.astype(np.float32) / np.float32(255)
    return _to_own_layout(numbers, "HW" if pixels.ndim == 3 else "HWC", signature)  # noqa: PLR2004 (n, h, w)


def stack(parts: Sequence[FloatArray]) -> FloatArray:
    """Parts [n_i, *example] behind each other, as one batch [sum of n_i, *example]."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def split(batch: FloatArray, sizes: Sequence[int]) -> list[FloatArray]:
    """The inverse of `stack`: views [size, *example] of a batch. Raises ValueError for a wrong sum."""
    if sum(sizes) != len(batch):
        raise ValueError(f"sizes {list(sizes)} do not add up to {len(batch)} examples")
    parts = []
    start = 0
    for size in sizes:
        parts.append(batch[start : start + size])
        start += size
    return parts


def _stored_dtype(tensor: RawTensor, signature: Signature) -> np.dtype[np.generic]:
    stored = (_STORED if signature.image_size is None else _OF_IMAGES).get(tensor.datatype)
    if stored is None:
        _refuse_datatype(tensor, signature)
    return stored


def _check_dimensions(tensor: RawTensor) -> int:
    """The number of elements that a shape claims."""
    shape = tensor.shape
    if not 1 <= len(shape) <= MAX_RANK:
        raise InvalidRequest(
            "RANK_NOT_ACCEPTED",
            field=tensor.name,
            came=f"rank {len(shape)}",
            accepted=f"rank 1 to {MAX_RANK}",
        )
    if min(shape) < 1:
        raise InvalidRequest(
            "DIMENSION_NOT_POSITIVE",
            field=tensor.name,
            came=_words(shape),
            accepted="dimensions of at least 1",
        )
    elements = math.prod(shape)
    if elements > MAX_ELEMENTS:
        raise InvalidRequest(
            "SHAPE_OVERFLOW", field=tensor.name, came=_words(shape), accepted="a product below 2^63 (64 bits)"
        )
    return elements


def _match_shape(tensor: RawTensor, signature: Signature) -> tuple[int, tuple[int, ...]]:
    """How many examples came, and the accepted shape that each has."""
    shape = tensor.shape
    if shape[1:] in signature.layouts:
        return shape[0], shape[1:]
    if shape in signature.layouts:
        return 1, shape
    accepted = ", ".join(_words(example) for example in signature.layouts)
    raise InvalidRequest(
        "SHAPE_NOT_ACCEPTED",
        field=tensor.name,
        came=_words(shape),
        accepted=f"an example of shape {accepted}, or several behind a batch dimension",
    )


def _check_examples(field: str, examples: int, max_request_examples: int) -> None:
    if examples > max_request_examples:
        raise InvalidRequest(
            "TOO_MANY_EXAMPLES",
            field=field,
            came=f"{examples} examples",
            accepted=f"at most {max_request_examples} in one request",
        )


def _to_float32(stored: npt.NDArray[np.generic], datatype: str, signature: Signature) -> FloatArray:
    """Elements as they lie in bytes to FP32 numbers, all flat."""
    if datatype == "FP32":
        numbers = cast(FloatArray, stored)
        # A slice of a larger message may start anywhere; kernels want whole words.
        return numbers if numbers.flags.aligned else numbers.copy()
    if datatype == "BF16":
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if datatype == "UINT8" and signature.image_size is not None:
        return stored.astype(np.float32) / np.float32(255)
    return stored.astype(np.float32)


def _check_values(numbers: FloatArray, tensor: RawTensor, signature: Signature) -> None:
    if (signature.minimum, signature.maximum) == (0.0, 1.0) and _are_from_zero_to_one(numbers):
        return
    # Two reductions decide most of what is left: a NaN passes through both and makes comparisons false.
    low, high = np.minimum.reduce(numbers), np.maximum.reduce(numbers)
    minimum = -math.inf if signature.minimum is None else signature.minimum
    maximum = math.inf if signature.maximum is None else signature.maximum
    if minimum <= low and high <= maximum and math.isfinite(low) and math.isfinite(high):
        return
    finite = np.isfinite(numbers)
    if not finite.all():
        came = _value_at(numbers, int(np.argmin(finite)), tensor.shape)
        raise InvalidRequest("NOT_FINITE", field=tensor.name, came=came, accepted="finite numbers")
    inside = (numbers >= minimum) & (numbers <= maximum)
    raise InvalidRequest(
        "OUT_OF_RANGE",
        field=tensor.name,
        came=_value_at(numbers, int(np.argmin(inside)), tensor.shape),
        accepted=_range_words(signature),
    )


def _are_from_zero_to_one(numbers: FloatArray) -> bool:
    """Whether one reduction shows that they are; of -0 alone, which is in the range as well, it does not.

    As unsigned integers the bits of FP32 are ordered like the numbers from 0 up; infinity, NaN and whatever
    has a sign come after them.
    """
    return bool(np.maximum.reduce(numbers.view(np.uint32)) <= _BITS_OF_ONE)


def _to_own_layout(examples: FloatArray, came: Layout, signature: Signature) -> FloatArray:
    """Examples [n, *accepted shape] to [n, *example]; the axes of colour pictures may change places."""
    own_shape = signature.input.example_shape
    own = signature.layouts.get(own_shape)
    if came == "HWC" and own == "CHW":
        examples = np.ascontiguousarray(examples.transpose(0, 3, 1, 2))
    elif came == "CHW" and own == "HWC":
        examples = np.ascontiguousarray(examples.transpose(0, 2, 3, 1))
    return examples.reshape(len(examples), *own_shape)


def _value_at(numbers: FloatArray, index: int, shape: tuple[int, ...]) -> str:
    """`3.7 at [0,12,4]`: a number and where it stands in the shape that was sent."""
    position = [int(axis) for axis in np.unravel_index(index, shape)]
    return f"{str(numbers[index]).removesuffix('.0')} at {_words(position)}"


def _range_words(signature: Signature) -> str:
    if signature.maximum is None:
        return f"at least {signature.minimum:g}"
    if signature.minimum is None:
        return f"at most {signature.maximum:g}"
    words = f"{signature.minimum:g} to {signature.maximum:g}"
    return words if signature.image_size is None else f"{words}; did you send 0 to 255? use UINT8"


def _words(sizes: Sequence[int]) -> str:
    return f"[{','.join(str(size) for size in sizes)}]"


def _refuse_datatype(tensor: RawTensor, signature: Signature) -> NoReturn:
    accepted = ", ".join(_STORED) if signature.image_size is None else _ACCEPTED_BY_IMAGES
    raise InvalidRequest(
        "DATATYPE_NOT_ACCEPTED", field=tensor.name, came=tensor.datatype or "no datatype", accepted=accepted
    )


def _refuse_framing(tensor: RawTensor, came: str) -> NoReturn:
    raise InvalidRequest(
        "BYTES_LENGTH",
        field=tensor.name,
        came=came,
        accepted=f"elements for shape {_words(tensor.shape)}, each behind 4 bytes of length, little-endian",
    )
