"""The mark of a version that is being built, in a folder where others may write too."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqserve_models.errors import StoreUnwritable, VersionExists
from seqserve_models.reservation import reserve


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_version_is_reserved_until_it_is_closed(tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = reserve(store, "m", "1", is_fixed=False)
    second = reserve(store, "m", "1", is_fixed=False)
    assert (first.version, second.version) == ("1", "2")
    with pytest.raises(VersionExists, match="version 1 of m is being built"):
        reserve(store, "m", "1", is_fixed=True)
    second.close()
    first.close()
    assert not store.exists()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_in_place_of_the_mark_is_not_followed(tmp_path: Path, *, is_there: bool) -> None:
    store, target = tmp_path / "store", tmp_path / "target"
    first = reserve(store, "m", "1", is_fixed=True)
    [mark] = store.iterdir()
    mark.rename(target)
    first.close()
    store.mkdir(exist_ok=True)
    if not is_there:
        target.unlink()
    mark.symlink_to(target)
    before = _descriptors()
    with pytest.raises(StoreUnwritable, match=rf"{mark.name} is a link"):
        reserve(store, "m", "1", is_fixed=False)
    assert target.exists() == is_there
    assert mark.is_symlink()
    assert _descriptors() == before


def test_a_folder_is_no_mark(tmp_path: Path) -> None:
    first = reserve(tmp_path, "m", "1", is_fixed=True)
    [mark] = tmp_path.iterdir()
    first.close()
    mark.mkdir()
    with pytest.raises(StoreUnwritable, match="cannot be written: Is a directory"):
        reserve(tmp_path, "m", "1", is_fixed=False)
