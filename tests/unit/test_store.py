"""A model store: listed, verified, pruned; on the command line as well."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seqserve.errors import StoreMissing
from seqserve.lease import Lease
from seqserve.store import leftovers, prune, read_store
from support.archives import make_archive
from support.command import seqserve

SUFFIXES = (".mar", ".mar.sha256", ".checkpoint.pt", ".report.html")


def fill(store: Path, *stems: str) -> None:
    """Files of these versions, with a byte each."""
    for stem in stems:
        for suffix in SUFFIXES:
            (store / f"{stem}{suffix}").write_bytes(b"x")


def names(store: Path) -> set[str]:
    return {path.name for path in store.iterdir()}


def files_of(*stems: str) -> set[str]:
    return {f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES}


def long_ago(path: Path) -> Path:
    """The same file, written an hour earlier."""
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 3600))
    return path


def corrupted(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


# ---- list and verify ----


def test_every_archive_is_listed_also_one_that_is_not_sound(tmp_path: Path) -> None:
    sound = make_archive(tmp_path)
    (tmp_path / "broken-1.mar").write_bytes(b"no zip")
    broken, good = read_store(tmp_path)
    assert (broken.path.name, broken.signature) == ("broken-1.mar", None)
    assert "broken-1.mar" in broken.fault
    assert good.signature is not None
    assert (good.path, good.fault, good.size_bytes) == (sound, "", sound.stat().st_size)


def test_the_list_says_what_is_served(tmp_path: Path) -> None:
    path = make_archive(tmp_path)
    lease = Lease(path)
    assert [one.is_served for one in read_store(tmp_path)] == [True]
    lease.close()
    assert [one.is_served for one in read_store(tmp_path)] == [False]


def test_the_command_lists(tmp_path: Path) -> None:
    path = make_archive(tmp_path)
    ended = seqserve("store", "list", "--model-store", str(tmp_path))
    assert (ended.status, ended.errors) == (0, "")
    assert path.name in ended.output


def test_an_empty_store_is_no_fault_and_a_missing_one_is(tmp_path: Path) -> None:
    for command in (["list"], ["verify"], ["prune", "--keep", "1"]):
        assert seqserve("store", *command, "--model-store", str(tmp_path)).status == 0
        missing = seqserve("store", *command, "--model-store", str(tmp_path / "gone"))
        assert missing.status == 2
        assert "no model store at" in missing.one_line


def test_verify_names_what_is_not_sound(tmp_path: Path) -> None:
    path = make_archive(tmp_path)
    assert seqserve("store", "verify", "--model-store", str(tmp_path)).status == 0
    corrupted(path)
    ended = seqserve("store", "verify", "--model-store", str(tmp_path))
    assert ended.status == 1
    assert "1 of 1 archives" in ended.one_line
    assert f"{path.name}: " in ended.output
    assert "sound, " not in ended.output


def test_verify_tells_what_is_left_over(tmp_path: Path) -> None:
    fill(tmp_path, "m-1")
    (tmp_path / "m-1.mar").unlink()
    (tmp_path / "m-1.report.html").unlink()
    for path in tmp_path.iterdir():
        long_ago(path)
    assert [path.name for path in leftovers(tmp_path)] == ["m-1.checkpoint.pt", "m-1.mar.sha256"]
    ended = seqserve("store", "verify", "--model-store", str(tmp_path))
    assert ended.status == 0
    assert "m-1.mar.sha256: left over" in ended.output


# ---- prune ----


def test_the_highest_versions_of_each_model_stay(tmp_path: Path) -> None:
    fill(tmp_path, "m-2", "m-9", "m-10", "other-1", "m-1.b-1")
    done = prune(tmp_path, keep=2)
    assert [one.path.name for one in done] == ["m-2.mar"]
    assert done[0].freed_bytes == 4
    assert names(tmp_path) == files_of("m-9", "m-10", "other-1", "m-1.b-1")


def test_of_one_model_alone(tmp_path: Path) -> None:
    fill(tmp_path, "m-1", "m-2", "other-1", "other-2")
    prune(tmp_path, keep=1, model="m")
    assert names(tmp_path) == files_of("m-2", "other-1", "other-2")


def test_a_dry_run_removes_nothing(tmp_path: Path) -> None:
    fill(tmp_path, "m-1", "m-2")
    ended = seqserve("store", "prune", "--keep", "1", "--dry-run", "--model-store", str(tmp_path))
    assert "would remove" in ended.output
    assert "m-1.mar" in ended.output
    assert names(tmp_path) == files_of("m-1", "m-2")


def test_what_is_served_stays_with_all_that_lies_beside_it(tmp_path: Path) -> None:
    fill(tmp_path, "m-1", "m-2", "m-3")
    lease = Lease(tmp_path / "m-1.mar")
    ended = seqserve("store", "prune", "--keep", "1", "--model-store", str(tmp_path))
    assert ended.status == 0
    assert f"kept {tmp_path / 'm-1.mar'}: a gateway serves it" in ended.output
    assert names(tmp_path) == files_of("m-1", "m-3")
    lease.close()
    prune(tmp_path, keep=1)
    assert names(tmp_path) == files_of("m-3")


def test_an_interrupted_prune_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "m-1", "m-2")
    for path in tmp_path.iterdir():
        long_ago(path)
    unlink = Path.unlink

    def interrupt(path: Path, *, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prune(tmp_path, keep=1)
    assert names(tmp_path) == files_of("m-1", "m-2") - {"m-1.mar"}
    prune(tmp_path, keep=1)
    assert names(tmp_path) == files_of("m-2")


def test_what_a_build_is_just_writing_is_left_alone(tmp_path: Path) -> None:
    fill(tmp_path, "m-2")
    (tmp_path / "m-1.mar.sha256").write_bytes(b"x")
    (tmp_path / "m-3.unfinished.pt").write_bytes(b"x")
    prune(tmp_path, keep=1)
    assert names(tmp_path) == files_of("m-2") | {"m-1.mar.sha256", "m-3.unfinished.pt"}


def test_at_least_one_version_stays(tmp_path: Path) -> None:
    assert seqserve("store", "prune", "--keep", "0", "--model-store", str(tmp_path)).status == 2
    with pytest.raises(StoreMissing):
        prune(tmp_path / "gone", keep=1)
