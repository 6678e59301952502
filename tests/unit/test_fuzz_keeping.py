"""Which inputs of a run are kept, with a program in libFuzzer's place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fuzz.keeping import NAME_LENGTH, keep_what_adds
from fuzz.target import Target

MERGING = """
import pathlib, shutil, sys
merged, grown = map(pathlib.Path, sys.argv[-2:])
assert "-merge=1" in sys.argv and "-max_len=4096" in sys.argv
assert {path.read_bytes() for path in merged.iterdir()} == {b"seed", b"kept"}
shutil.copy(grown / "adds", merged / ("0123456789" * 4))
"""
TARGET = Target("some", lambda _: None, lambda: [b"seed"])


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """One input is in it."""
    monkeypatch.setattr("fuzz.target.CORPUS", tmp_path)
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "a").write_bytes(b"kept")
    return tmp_path / "some"


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    folder = tmp_path / "grown"
    folder.mkdir()
    (folder / "adds").write_bytes(b"new")
    (folder / "adds nothing").write_bytes(b"old")
    return folder


def test_only_what_adds_is_put_beside_what_is_kept(corpus: Path, grown: Path) -> None:
    assert keep_what_adds(TARGET, grown, [sys.executable, "-c", MERGING]) == 1

    found = {path.name: path.read_bytes() for path in corpus.iterdir()}
    assert found == {"a": b"kept", ("0123456789" * 2)[:NAME_LENGTH]: b"new"}
    assert b"new" in TARGET.inputs()


def test_a_merge_that_fails_is_told_and_changes_nothing(corpus: Path, grown: Path) -> None:
    failing = "import sys; sys.exit('no such thing')"
    with pytest.raises(RuntimeError, match="no such thing"):
        keep_what_adds(TARGET, grown, [sys.executable, "-c", failing])

    assert [path.name for path in corpus.iterdir()] == ["a"]
