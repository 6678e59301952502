"""IDX files, whole and damaged."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seqserve_models.errors import DatasetBroken, DatasetMissing
from seqserve_models.idx import read_idx

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
WriteIdx = Callable[..., Path]


def test_reads_a_plain_file(tmp_path: Path, write_idx: WriteIdx) -> None:
    write_idx("images", IMAGES)
    np.testing.assert_array_equal(read_idx(tmp_path, "images", rank=3), IMAGES)


def test_reads_a_gzipped_file(tmp_path: Path, write_idx: WriteIdx) -> None:
    path = write_idx("images", IMAGES)
    (tmp_path / "images.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    np.testing.assert_array_equal(read_idx(tmp_path, "images", rank=3), IMAGES)


def test_a_missing_file_is_named_with_the_option_that_helps(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissing, match=r"neither images nor images\.gz") as caught:
        read_idx(tmp_path, "images", rank=3)
    assert "--data-dir" in caught.value.hint


def damage_magic(content: bytes) -> bytes:
    return b"\x00\x00\x0d\x03" + content[4:]


def damage_sizes(content: bytes) -> bytes:
    return content[:4] + b"\xff" * 12 + content[16:]


def cut_header(content: bytes) -> bytes:
    return content[:9]


def cut_end(content: bytes) -> bytes:
    return content[:-1]


def add_end(content: bytes) -> bytes:
    return content + b"\x00"


def empty(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_magic, "starts with 00000d03, expected 00000803"),
        (damage_sizes, "header promises the sizes"),
        (cut_header, "ends after 9 bytes, inside its header"),
        (cut_end, "23 bytes after the header, which promises 24"),
        (add_end, "more bytes after the header, which promises 24"),
        (empty, "starts with nothing"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(
    tmp_path: Path,
    write_idx: WriteIdx,
    damage: Callable[[bytes], bytes],
    says: str,
    pack: Callable[[bytes], bytes],
) -> None:
    path = write_idx("images", IMAGES)
    path.write_bytes(pack(damage(path.read_bytes())))
    with pytest.raises(DatasetBroken, match=says):
        read_idx(tmp_path, "images", rank=3)


@pytest.mark.parametrize("keep", [12, -9, -4])
def test_a_truncated_gzip_is_refused(tmp_path: Path, write_idx: WriteIdx, keep: int) -> None:
    path = write_idx("images", IMAGES)
    path.write_bytes(gzip.compress(path.read_bytes())[:keep])
    with pytest.raises(DatasetBroken, match="damaged gzip"):
        read_idx(tmp_path, "images", rank=3)


def test_a_gzip_whose_checksum_differs_is_refused(tmp_path: Path, write_idx: WriteIdx) -> None:
    path = write_idx("images", IMAGES)
    content = bytearray(gzip.compress(path.read_bytes()))
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetBroken, match="damaged gzip"):
        read_idx(tmp_path, "images", rank=3)


def test_labels_are_no_images(tmp_path: Path, write_idx: WriteIdx) -> None:
    write_idx("images", np.arange(5, dtype=np.uint8))
    with pytest.raises(DatasetBroken, match="starts with 00000801, expected 00000803"):
        read_idx(tmp_path, "images", rank=3)
