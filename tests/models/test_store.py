"""The folder that archives are published in."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from seqserve_models.errors import SettingInvalid, StoreUnwritable, VersionExists
from seqserve_models.store import choose_version, finished_checkpoints, keep_unfinished, publish


def test_an_archive_lies_beside_its_sum(tmp_path: Path) -> None:
    path = publish(b"archive", tmp_path / "new" / "store", "m", "1", {".checkpoint.pt": b"weights"})
    assert path == tmp_path / "new" / "store" / "m-1.mar"
    assert path.read_bytes() == b"archive"
    digest = hashlib.sha256(b"archive").hexdigest()
    assert (path.parent / "m-1.mar.sha256").read_text() == f"{digest}  m-1.mar\n"
    assert (path.parent / "m-1.checkpoint.pt").read_bytes() == b"weights"
    assert len(list(path.parent.iterdir())) == 3


@pytest.mark.parametrize("name", ["m-2.mar", "m-2.mar.sha256"])
def test_a_version_in_use_is_never_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"first")
    with pytest.raises(VersionExists, match="version 2 of m is in"):
        publish(b"second", tmp_path, "m", "2", {".report.html": b"report"})
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
        publish(b"archive", tmp_path / "store", "m", "1", {})


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(self: Path, target: Path) -> Path:
        raise failure

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises((KeyboardInterrupt, StoreUnwritable)):
        publish(b"archive", tmp_path, "m", "1", {".report.html": b"report"})
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_training_keeps_its_version(tmp_path: Path) -> None:
    keep_unfinished(b"half", tmp_path, "m", "1")
    keep_unfinished(b"more", tmp_path, "m", "1")
    assert [path.name for path in tmp_path.iterdir()] == ["m-1.unfinished.pt"]
    assert (tmp_path / "m-1.unfinished.pt").read_bytes() == b"more"
    assert choose_version(tmp_path, "m", None) == "2"
    with pytest.raises(VersionExists, match="kept by an unfinished training") as caught:
        choose_version(tmp_path, "m", "1")
    assert str(tmp_path / "m-1.unfinished.pt") in caught.value.hint
    assert choose_version(tmp_path, "m", None, resumes="1") == "1"


def test_a_published_version_is_unfinished_no_more(tmp_path: Path) -> None:
    keep_unfinished(b"half", tmp_path, "m", "1")
    publish(b"archive", tmp_path, "m", "1", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m-1.mar", "m-1.mar.sha256"]
    with pytest.raises(VersionExists):
        choose_version(tmp_path, "m", None, resumes="1")


def test_checkpoints_of_published_versions_are_found_newest_first(tmp_path: Path) -> None:
    for version in ("2", "10", "3"):
        publish(b"archive", tmp_path, "m", version, {".checkpoint.pt": b"weights"})
    publish(b"archive", tmp_path, "m", "11", {})
    found = [path.name for path in finished_checkpoints(tmp_path, "m")]
    assert found == ["m-10.checkpoint.pt", "m-3.checkpoint.pt", "m-2.checkpoint.pt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_that_cannot_be_written_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreUnwritable, match="no permission"):
        choose_version(tmp_path / "store", "m", None)
