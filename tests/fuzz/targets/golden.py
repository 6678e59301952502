"""golden.npz of an archive: the arrays that NumPy's own reader finds in it, or ArchiveInvalid."""

from __future__ import annotations

import io

import numpy as np

from fuzz.signatures import NAMES, SIGNATURES
from fuzz.target import Cursor, Target
from seqserve.archive_golden import INPUTS, OUTPUTS, read_golden
from seqserve.errors import ArchiveInvalid
from support.archives import made_up_golden, npy, npz
from support.zips import Part, zipped

AS_IT_IS, ONE_ARRAY = range(2)


def check(data: bytes) -> None:
    """Read a file, or one with an array of any content."""
    cursor = Cursor(data)
    name = cursor.choice(NAMES)
    signature = SIGNATURES[name]
    content = cursor.rest() if cursor.choice((AS_IT_IS, ONE_ARRAY)) == AS_IT_IS else _written(cursor, name)
    try:
        inputs, outputs = read_golden(content, signature)
    except ArchiveInvalid as refused:
        assert str(refused)
        return
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        np.testing.assert_array_equal(found["inputs"], inputs)
        np.testing.assert_array_equal(found["outputs"], outputs)
    assert inputs.dtype == outputs.dtype == np.float32
    assert inputs.shape == (len(outputs), *signature.input.example_shape)
    assert outputs.shape == (len(inputs), *signature.output.example_shape)
    assert len(inputs)


def _written(cursor: Cursor, name: str) -> bytes:
    """An .npz with sound outputs, and any bytes as its inputs."""
    sound = made_up_golden(SIGNATURES[name])[1]
    return zipped([Part(INPUTS.encode(), cursor.rest(), 0), Part(OUTPUTS.encode(), npy(sound), 0)])


def seeds() -> list[bytes]:
    """Sound ones, compressed and not, of every signature that is small."""
    found = []
    for index, name in enumerate(NAMES):
        inputs, outputs = made_up_golden(SIGNATURES[name])
        if inputs.size > TARGET.max_bytes // 8:
            continue
        found.append(bytes([index, AS_IT_IS]) + npz(inputs=inputs, outputs=outputs))
        found.append(bytes([index, ONE_ARRAY]) + npy(inputs))
    found.append(bytes([0, ONE_ARRAY]) + npy(np.array([{}], dtype=object)))
    return found


TARGET = Target(
    "golden",
    check,
    seeds,
    (
        b"\x93NUMPY\x01\x00", b"\x93NUMPY\x02\x00", b"'descr': ", b"'<f4'", b"'|O'", b"'fortran_order': ", b"True",
        b"'shape': ", b"(2, 6)", b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"inputs.npy", b"outputs.npy",
    ),
)  # fmt: skip
