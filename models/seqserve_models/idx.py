"""IDX, the file format of MNIST: a magic number, the sizes, then bytes; big-endian; gzipped or plain."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from seqserve_models.errors import DatasetBroken, DatasetMissing

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 0x08
# Far beyond any digit set; a damaged header must not ask for the machine's memory.
MAX_BYTES = 2**31


def read_idx(folder: Path, name: str, *, rank: int) -> npt.NDArray[np.uint8]:
    """UINT8 array of `rank` dimensions from `name` or `name.gz`. Raises DatasetMissing, DatasetBroken."""
    path = _find(folder, name)
    try:
        with path.open("rb") as plain:
            is_gzip = plain.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            plain.seek(0)
            if not is_gzip:
                return _read(plain, path, rank)
            with gzip.GzipFile(fileobj=plain) as unpacked:
                return _read(cast("BinaryIO", unpacked), path, rank)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetBroken(f"{path}: damaged gzip: {error}", hint="download the file again") from error
    except OSError as error:
        raise DatasetMissing(f"{path}: cannot be read: {error.strerror or error}") from error


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DatasetMissing(
        f"{folder} has neither {name} nor {name}.gz",
        hint="--data-dir names the folder with the IDX files",
    )


def _read(stream: BinaryIO, path: Path, rank: int) -> npt.NDArray[np.uint8]:
    sizes = _read_header(stream, path, rank)
    expected = math.prod(sizes)
    content = stream.read(expected + 1)
    if len(content) != expected:
        came = "more" if len(content) > expected else f"{len(content)}"
        raise DatasetBroken(f"{path}: {came} bytes after the header, which promises {expected} ({sizes})")
    return np.frombuffer(content, np.uint8).reshape(sizes)


def _read_header(stream: BinaryIO, path: Path, rank: int) -> tuple[int, ...]:
    header = stream.read(4 + 4 * rank)
    magic = bytes((0, 0, UNSIGNED_BYTE, rank))
    if header[:4] != magic:
        raise DatasetBroken(f"{path}: starts with {header[:4].hex() or 'nothing'}, expected {magic.hex()}")
    if len(header) != 4 + 4 * rank:
        raise DatasetBroken(f"{path}: ends after {len(header)} bytes, inside its header")
    sizes = struct.unpack(f">{rank}I", header[4:])
    if not 0 < math.prod(sizes) <= MAX_BYTES:
        raise DatasetBroken(
            f"{path}: its header promises the sizes {sizes}; accepted: 1 to {MAX_BYTES} bytes"
        )
    return sizes
