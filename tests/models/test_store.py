"""The folder that archives are published in."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from seqserve_models.errors import SettingInvalid, StoreUnwritable, VersionExists
from seqserve_models.store import choose_version, publish


def test_an_archive_lies_beside_its_sum(tmp_path: Path) -> None:
    path, digest = publish(b"archive", tmp_path / "new" / "store", "m", "1")
    assert path == tmp_path / "new" / "store" / "m-1.mar"
    assert path.read_bytes() == b"archive"
    assert digest == hashlib.sha256(b"archive").hexdigest()
    assert (path.parent / "m-1.mar.sha256").read_text() == f"{digest}  m-1.mar\n"
    assert len(list(path.parent.iterdir())) == 2


@pytest.mark.parametrize("name", ["m-2.mar", "m-2.mar.sha256"])
def test_a_version_in_use_is_never_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"first")
    with pytest.raises(VersionExists, match="version 2 of m is in"):
        publish(b"second", tmp_path, "m", "2")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"first"


def test_the_next_number_follows_the_largest_of_that_name(tmp_path: Path) -> None:
    for name in ("m-2.mar", "m-10.mar.sha256", "m-7-30.mar", "mm-50.mar", "m-x.mar", ".m-40.mar.ab.partial"):
        (tmp_path / name).touch()
    assert choose_version(tmp_path, "m", None) == "11"
    assert choose_version(tmp_path, "other", None) == "1"
    assert choose_version(tmp_path / "missing", "m", None) == "1"


def test_a_version_in_use_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    (tmp_path / "m-2.mar").touch()
    with pytest.raises(VersionExists) as caught:
        choose_version(tmp_path, "m", "2")
    assert caught.value.hint == "leave the version out to build the next number"
    assert choose_version(tmp_path, "m", "5") == "5"


@pytest.mark.parametrize("version", ["0", "01", "-1", "1.0", "v1", "", "1\n", "\u0661", "9" * 19])
def test_a_version_is_a_positive_number(tmp_path: Path, version: str) -> None:
    with pytest.raises(SettingInvalid):
        choose_version(tmp_path, "m", version)


def test_a_store_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    with pytest.raises(StoreUnwritable, match="is not a folder"):
        choose_version(tmp_path / "store", "m", None)
    with pytest.raises(StoreUnwritable):
        publish(b"archive", tmp_path / "store", "m", "1")


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(self: Path, target: Path) -> Path:
        raise failure

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises((KeyboardInterrupt, StoreUnwritable)):
        publish(b"archive", tmp_path, "m", "1")
    assert list(tmp_path.iterdir()) == []
