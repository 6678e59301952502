"""A key that others could read, or put another one in the place of, attests nothing."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqserve_models.errors import SigningKeyUnusable
from seqserve_models.signing_keys import list_keys, make_key, read_signing_key


def belongs_to(monkeypatch: pytest.MonkeyPatch, stranger: Path) -> None:
    """As if a file, folder or link belonged to another user: who is not root can give nothing away."""
    there = stranger.lstat()

    def lying(look: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        def found(*given: Any, **options: Any) -> os.stat_result:
            seen = look(*given, **options)
            if not os.path.samestat(seen, there):
                return seen
            return os.stat_result([*seen[:4], 1234567, *seen[5:]])

        return found

    for name in ("stat", "lstat", "fstat"):
        monkeypatch.setattr(os, name, lying(getattr(os, name)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of keys, one of them."""
    make_key("release", tmp_path / "keys")
    return tmp_path / "keys"


def test_a_key_in_a_folder_in_which_others_write_is_refused(folder: Path) -> None:
    folder.chmod(0o777)
    with pytest.raises(SigningKeyUnusable, match=r"keys may be written by others .*, mode 0777") as caught:
        read_signing_key(folder / "release.key")
    assert caught.value.hint == f"chmod go-w {folder}"


def test_a_link_to_a_key_in_a_folder_in_which_others_write_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    moved = (folder / "release.key").rename(tmp_path / "open" / "release.key")
    moved.parent.chmod(0o775)
    (folder / "release.key").symlink_to(moved)
    with pytest.raises(SigningKeyUnusable, match="open may be written by others"):
        read_signing_key(folder / "release.key")


def test_a_sticky_folder_keeps_what_is_ours(folder: Path) -> None:
    """As /tmp, and as Kubernetes mounts secrets."""
    folder.chmod(0o1777)
    assert read_signing_key(folder / "release.key").key_id


@pytest.mark.parametrize("whose", ["the file", "the folder", "the link in a sticky folder"])
def test_a_key_of_somebody_else_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, whose: str) -> None:
    key = folder / "release.key"
    if whose == "the link in a sticky folder":
        kept = folder.parent / "kept"
        kept.mkdir(mode=0o700)
        key.symlink_to(key.rename(kept / "release.key"))
        folder.chmod(0o1777)
    stranger = folder if whose == "the folder" else key
    belongs_to(monkeypatch, stranger)
    with pytest.raises(SigningKeyUnusable, match="belongs to user 1234567, who is neither root") as caught:
        read_signing_key(key)
    assert str(caught.value).startswith(f"{stranger} ")
    chmod = {"the file": "chmod 600", "the folder": "chmod go-w"}.get(whose)
    own = f"chown {os.geteuid()} {stranger} && {chmod} {stranger}"
    assert caught.value.hint == (own if chmod else f"chown -h {os.geteuid()} {stranger}")


def test_a_new_key_is_not_put_into_a_folder_of_somebody_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    belongs_to(monkeypatch, folder)
    with pytest.raises(SigningKeyUnusable, match="belongs to user 1234567"):
        make_key("next", folder)
    assert not (folder / "next.key").exists()


def test_what_helps_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    key = make_key("release", tmp_path / "my $(id) keys").private
    key.chmod(0o644)
    with pytest.raises(SigningKeyUnusable) as caught:
        read_signing_key(key)
    assert shlex.split(caught.value.hint) == ["chmod", "600", str(key)]
    key.with_suffix(".pub").unlink()
    [listed] = list_keys(key.parent)
    assert f"-in '{key}' -pubout" in listed.fault
