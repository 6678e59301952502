"""The golden rows of an archive: two arrays, without the trust that NumPy's own reader would have in them."""

from __future__ import annotations

import math
import re

import numpy as np

from seqserve.archive_members import read_members
from seqserve.errors import ArchiveInvalid
from seqserve.signature import Signature, TensorSpec
from seqserve.tensors import FloatArray

NAME = "golden.npz"
INPUTS, OUTPUTS = "inputs.npy", "outputs.npy"
# NumPy reads the header with Python's own parser, which a few bytes keep busy; it writes it in one way.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?P<bytes>..)\{'descr': '(?P<descr>[<>|=][a-zA-Z][0-9]{0,9})', "
    rb"'fortran_order': (?P<order>False|True), "
    rb"'shape': \((?P<shape>|[0-9]{1,18},|[0-9]{1,18}(?:, [0-9]{1,18}){1,15})\), \} {0,99}\n",
    re.DOTALL,
)
_PREAMBLE_BYTES = 10


def read_golden(content: bytes, signature: Signature) -> tuple[FloatArray, FloatArray]:
    """Inputs [k, *example] and outputs [k, *output], FP32, read-only, k ≥ 1. Raises ArchiveInvalid."""
    members = read_members(content, (INPUTS, OUTPUTS), NAME)
    inputs = _read_array(members[INPUTS], "inputs", signature.input)
    outputs = _read_array(members[OUTPUTS], "outputs", signature.output)
    if len(inputs) != len(outputs):
        raise ArchiveInvalid(f"{NAME}: {len(inputs)} inputs and {len(outputs)} outputs")
    return inputs, outputs


def _read_array(content: bytes, name: str, spec: TensorSpec) -> FloatArray:
    """Rows [k, *example] FP32 from a .npy file, as a view. NumPy's own reader would trust the header."""
    header = _HEADER.match(content)
    if header is None or header.end() != _PREAMBLE_BYTES + int.from_bytes(header["bytes"], "little"):
        raise ArchiveInvalid(f"{NAME}: {name} is no NumPy array in version 1.0 of NumPy's format")
    if header["descr"] != b"<f4" or header["order"] != b"False":
        raise ArchiveInvalid(f"{NAME}: {name} must be FP32, little-endian and row-major")
    shape = tuple(int(size) for size in header["shape"].replace(b",", b" ").split())
    if len(shape) < 1 or shape[0] < 1 or shape[1:] != spec.example_shape:
        raise ArchiveInvalid(f"{NAME}: {name} has shape {list(shape)}, {spec.name} has {spec.shape}")
    start = header.end()
    if len(content) - start != 4 * math.prod(shape):
        raise ArchiveInvalid(f"{NAME}: {name} has {len(content) - start} bytes for shape {list(shape)}")
    return np.frombuffer(content, np.float32, offset=start).reshape(shape)
