"""Files that somebody else put there: what is opened, and that nothing is left open."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from seqserve.regular_file import open_regular, read_regular


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _nothing(path: Path) -> None:
    assert not path.exists()


def test_a_regular_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert read_regular(tmp_path / "file", 7) == b"content"
    with pytest.raises(OSError, match="it has more than 6 bytes"):
        read_regular(tmp_path / "file", 6)


def test_a_file_of_many_bytes_and_no_blocks_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(OSError, match="it has more than 1073741824 bytes"):
        read_regular(tmp_path / "sparse", 2**30)


def _link(path: Path) -> None:
    target = path.with_name("target")
    target.write_bytes(b"content")
    path.symlink_to(target)


def _dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


@pytest.mark.parametrize(
    ("made_by", "says"),
    [
        (Path.mkdir, "it is not a regular file"),
        (os.mkfifo, "it is not a regular file"),
        (_link, "it is a link"),
        (_dangling_link, "it is a link"),
        (_nothing, "No such file"),
    ],
    ids=["folder", "pipe", "link", "dangling link", "nothing"],
)
def test_what_is_no_regular_file_is_refused_and_left_closed(
    tmp_path: Path, made_by: Callable[[Path], None], says: str
) -> None:
    made_by(tmp_path / "file")
    before = _descriptors()
    for _ in range(3):
        with pytest.raises(OSError, match=says), open_regular(tmp_path / "file"):
            pytest.fail("it was opened")
    assert _descriptors() == before


def test_a_device_is_refused() -> None:
    with pytest.raises(OSError, match="it is not a regular file"), open_regular(Path(os.devnull)):
        pytest.fail("it was opened")


def test_a_file_is_closed_whatever_its_reader_does(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    before = _descriptors()
    with pytest.raises(KeyError), open_regular(tmp_path / "file"):
        raise KeyError
    with open_regular(tmp_path / "file") as file:
        file.close()
    assert _descriptors() == before
