"""A model store: what is in it, what is left over in it, and what a prune removes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from seqserve.errors import StoreMissing
from seqserve.lease import SERVED, claim, hold
from seqserve.repository.routing import Routing
from seqserve.store import PINNED, Pruned, leftovers, prune, read_store
from seqserve.trust import UNCHECKED
from support.archives import make_archive

SUFFIXES = (".mar", ".mar.sha256", ".checkpoint.pt", ".report.html")


def fill(store: Path, *stems: str) -> None:
    """Small archives of these versions, with a byte in each file beside them."""
    for stem in stems:
        name, _, version = stem.rpartition("-")
        make_archive(store, name, version)
        for suffix in SUFFIXES[2:]:
            (store / f"{stem}{suffix}").write_bytes(b"x")


def corrupted(path: Path) -> Path:
    """The same file with one byte changed."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


def names(store: Path) -> set[str]:
    return {path.name for path in store.iterdir()}


def files_of(*stems: str) -> set[str]:
    return {f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES}


def long_ago(path: Path) -> Path:
    """The same file, written an hour earlier."""
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 3600))
    return path


# ---- list and verify ----


def test_every_archive_is_listed_also_one_that_is_not_sound(tmp_path: Path) -> None:
    sound = make_archive(tmp_path)
    (tmp_path / "broken-1.mar").write_bytes(b"no zip")
    broken, good = read_store(tmp_path, UNCHECKED)
    assert (broken.path.name, broken.signature) == ("broken-1.mar", None)
    assert "broken-1.mar" in broken.fault
    assert good.signature is not None
    assert (good.path, good.fault, good.size_bytes) == (sound, "", sound.stat().st_size)


def test_the_list_says_what_is_served(tmp_path: Path) -> None:
    path = make_archive(tmp_path)
    with hold(path):
        assert [one.is_served for one in read_store(tmp_path, UNCHECKED)] == [True]
    assert [one.is_served for one in read_store(tmp_path, UNCHECKED)] == [False]


def test_who_is_served_is_unknown_while_another_command_claims_an_archive(tmp_path: Path) -> None:
    with claim(make_archive(tmp_path)):
        assert [one.is_served for one in read_store(tmp_path, UNCHECKED)] == [None]


def test_what_an_interrupted_publish_left_is_told(tmp_path: Path) -> None:
    fill(tmp_path, "m-1")
    (tmp_path / "m-1.mar").unlink()
    (tmp_path / "m-1.report.html").unlink()
    (tmp_path / ".m-2.mar.0a1b2c3d.partial").write_bytes(b"x")
    assert leftovers(tmp_path) == []  # it may be going on
    for path in tmp_path.iterdir():
        long_ago(path)
    left = [path.name for path in leftovers(tmp_path)]
    assert left == [".m-2.mar.0a1b2c3d.partial", "m-1.checkpoint.pt", "m-1.mar.sha256"]


def test_what_a_build_renames_while_we_look_is_nothing_left_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / ".m-1.mar.0a1b2c3d.partial"
    monkeypatch.setattr(Path, "iterdir", lambda _: iter([gone]))
    assert leftovers(tmp_path) == []


# ---- prune ----


def test_the_highest_versions_of_each_model_stay(tmp_path: Path) -> None:
    fill(tmp_path, "m-2", "m-9", "m-10", "other-1", "m-1.b-1")
    freed = sum((tmp_path / name).stat().st_size for name in files_of("m-2"))
    done = prune(tmp_path, UNCHECKED, keep=2)
    assert [one.path.name for one in done] == ["m-2.mar"]
    assert done[0].freed_bytes == freed
    assert {path.name for path in done[0].removed} == files_of("m-2")
    assert names(tmp_path) == files_of("m-9", "m-10", "other-1", "m-1.b-1")


def test_of_one_model_alone(tmp_path: Path) -> None:
    fill(tmp_path, "m-1", "m-2", "other-1", "other-2")
    prune(tmp_path, UNCHECKED, keep=1, model="m")
    assert names(tmp_path) == files_of("m-2", "other-1", "other-2")


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
            prune(tmp_path, UNCHECKED, keep=1)
    assert names(tmp_path) == files_of("m-1", "m-2") - {"m-1.mar"}
    prune(tmp_path, UNCHECKED, keep=1)
    assert names(tmp_path) == files_of("m-2")


def test_what_a_build_is_just_writing_is_left_alone(tmp_path: Path) -> None:
    fill(tmp_path, "m-2")
    (tmp_path / "m-1.mar.sha256").write_bytes(b"x")
    (tmp_path / "m-3.unfinished.pt").write_bytes(b"x")
    prune(tmp_path, UNCHECKED, keep=1)
    assert names(tmp_path) == files_of("m-2") | {"m-1.mar.sha256", "m-3.unfinished.pt"}


def test_companions_of_kept_and_higher_versions_stay_without_their_archive(tmp_path: Path) -> None:
    fill(tmp_path, "m-1", "m-2", "m-3")
    (tmp_path / "m-4.checkpoint.pt").write_bytes(b"weights")
    (tmp_path / "m-2.mar").unlink()
    (tmp_path / "n-1.checkpoint.pt").write_bytes(b"weights of a model without an archive")
    for path in tmp_path.iterdir():
        long_ago(path)
    before = names(tmp_path)
    assert prune(tmp_path, UNCHECKED, keep=2) == []
    assert names(tmp_path) == before


def test_what_is_served_stays_and_only_then(tmp_path: Path) -> None:
    fill(tmp_path, "m-1", "m-2", "m-3")
    with hold(tmp_path / "m-1.mar"):
        kept, gone = prune(tmp_path, UNCHECKED, keep=1)
    assert kept == Pruned(tmp_path / "m-1.mar", kept_because=SERVED)
    assert not kept.is_fault
    assert gone.path.name == "m-2.mar"
    assert names(tmp_path) == files_of("m-1", "m-3")
    prune(tmp_path, UNCHECKED, keep=1)
    assert names(tmp_path) == files_of("m-3")


def test_what_a_label_or_a_weight_names_stays(tmp_path: Path) -> None:
    fill(tmp_path, "m-1", "m-2", "m-3", "m-4", "n-1", "n-2")
    routing = {"m": Routing(labels={"stable": "1"}, weights={"3": 5})}

    done = {one.path.name: one for one in prune(tmp_path, UNCHECKED, keep=1, routing=routing)}

    assert names(tmp_path) == files_of("m-1", "m-3", "m-4", "n-2")
    assert done["m-1.mar"].kept_because == done["m-3.mar"].kept_because == PINNED
    assert not done["m-1.mar"].is_fault


def test_a_dry_run_names_all_that_would_go_and_removes_nothing(tmp_path: Path) -> None:
    fill(tmp_path, "m-1", "m-2")
    would = prune(tmp_path, UNCHECKED, keep=1, is_dry_run=True)
    assert names(tmp_path) == files_of("m-1", "m-2")
    assert prune(tmp_path, UNCHECKED, keep=1) == would


def test_signatures_go_with_their_archive_and_names_that_begin_alike_stay(tmp_path: Path) -> None:
    fill(tmp_path, "m-1", "m-2")
    others = {"m-1.mar.txt", "m-1.b.mar", "m-11.report.html"}
    for name in {"m-1.mar.sig", *others}:
        (tmp_path / name).write_bytes(b"x")
    prune(tmp_path, UNCHECKED, keep=1)
    assert names(tmp_path) == files_of("m-2") | others


def test_an_archive_always_goes_before_its_hash(tmp_path: Path) -> None:
    fill(tmp_path, "m-1", "m-2")
    [done] = prune(tmp_path, UNCHECKED, keep=1)
    assert done.removed[0].name == "m-1.mar"


def test_what_went_is_told_also_where_the_rest_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "m-1", "m-2")
    unlink = Path.unlink

    def deny(path: Path) -> None:
        if path.suffix == ".sha256":
            raise PermissionError(13, "Permission denied")
        unlink(path)

    monkeypatch.setattr(Path, "unlink", deny)
    size = (tmp_path / "m-1.mar").stat().st_size
    [done] = prune(tmp_path, UNCHECKED, keep=1)
    assert [path.name for path in done.removed] == ["m-1.mar"]
    assert (done.freed_bytes, done.is_fault) == (size, True)
    assert done.kept_because == "m-1.mar.sha256 cannot be removed: Permission denied"


def test_without_locks_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    fill(tmp_path, "m-1", "m-2")
    [done] = prune(tmp_path, UNCHECKED, keep=1)
    assert done.is_fault
    assert "No locks available" in done.kept_because
    assert names(tmp_path) == files_of("m-1", "m-2")


def test_a_missing_store_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing):
        prune(tmp_path / "gone", UNCHECKED, keep=1)


def test_one_that_is_not_sound_does_not_count(tmp_path: Path) -> None:
    fill(tmp_path, "m-1", "m-2", "m-3")
    corrupted(tmp_path / "m-3.mar")
    assert [one.path.name for one in prune(tmp_path, UNCHECKED, keep=1)] == ["m-1.mar"]
    corrupted(tmp_path / "m-2.mar")
    assert prune(tmp_path, UNCHECKED, keep=1) == []
    assert names(tmp_path) == files_of("m-2", "m-3")
