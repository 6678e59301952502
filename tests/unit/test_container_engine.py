"""Where images cannot be built, their tests are skipped with words that say what is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from support.container_engine import NotHere, running_engine


def tried(folder: Path) -> str:
    with pytest.raises(NotHere) as caught, running_engine(folder):
        pass
    return str(caught.value)


def test_who_is_not_root_hears_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert "as root" in tried(tmp_path / "storage")


def test_programs_that_cannot_be_installed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        shutil, "which", lambda name: None if name in ("buildah", "apt-get") else f"/bin/{name}"
    )

    assert tried(tmp_path / "storage").startswith("missing: buildah; there is no apt-get")
    assert not (tmp_path / "storage").exists()
