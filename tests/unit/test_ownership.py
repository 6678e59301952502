"""Which folders let others change what a path leads to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seqserve.ownership import Opening, first_opening


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "srv" / "gateway" / "keys"
    folder.mkdir(parents=True)
    for each in (folder, folder.parent, folder.parent.parent):
        each.chmod(0o755)
    return folder


def belongs_to(monkeypatch: pytest.MonkeyPatch, *strangers: Path) -> None:
    """These belong to somebody else, all others to root."""
    lstat = os.lstat

    def lying(path: Path, **given: object) -> os.stat_result:
        found = list(lstat(path))
        found[4] = 4242 if Path(path) in strangers else 0
        return os.stat_result(found)

    monkeypatch.setattr("pathlib.Path.lstat", lying)


def test_nobody_else_changes_what_lies_in_folders_of_ours(keys: Path) -> None:
    assert first_opening(keys) is None


def test_a_relative_path_is_looked_at_from_where_we_are(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(keys.parent)
    assert first_opening(Path("keys")) is None
    keys.parent.parent.chmod(0o777)
    opening = first_opening(Path("keys"))
    assert opening is not None
    assert opening.folder == keys.parent.parent


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_who_may_write_a_folder_above_could_rename_it_away(keys: Path, mode: int) -> None:
    above = keys.parent.parent
    above.chmod(mode)
    assert first_opening(keys) == Opening(
        above,
        f"may be written by its group or by others (mode {mode:04o}), and the way to {keys} goes through it",
        f"close it: chmod go-w {above}",
    )


def test_in_a_sticky_folder_nobody_renames_what_is_not_theirs(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.parent.parent.chmod(0o1777)
    assert first_opening(keys) is None
    belongs_to(monkeypatch, keys.parent)
    opening = first_opening(keys)
    assert opening is not None
    assert opening.folder == keys.parent.parent


def test_who_owns_a_folder_above_could_open_it(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.parent.chmod(0o1755)
    belongs_to(monkeypatch, keys.parent)
    opening = first_opening(keys)
    assert opening is not None
    assert opening.folder == keys.parent
    assert "belongs to user 4242" in opening.fault
    assert opening.hint.startswith(f"close it: chown {os.geteuid()} {keys.parent} && ")


def test_links_may_lead_there_from_folders_of_ours(keys: Path, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir(mode=0o755)
    (tmp_path / "etc" / "seqserve").symlink_to("../srv/gateway")
    link = tmp_path / "keys"
    link.symlink_to(tmp_path / "etc" / "seqserve" / "keys")
    assert first_opening(link) is None
    assert first_opening(tmp_path / "etc" / ".." / "keys") is None


@pytest.mark.parametrize("opened", ["etc", "srv"])
def test_a_folder_that_holds_a_link_on_the_way_counts_as_well(
    keys: Path, tmp_path: Path, opened: str
) -> None:
    (tmp_path / "etc").mkdir(mode=0o755)
    link = tmp_path / "etc" / "keys"
    link.symlink_to(keys)
    (tmp_path / opened).chmod(0o777)
    opening = first_opening(link)
    assert opening is not None
    assert opening.folder == tmp_path / opened


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(OSError, match="symbolic links"):
        first_opening(tmp_path / "one" / "keys")
