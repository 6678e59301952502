"""What a build of the images is told of this machine's pip."""

from __future__ import annotations

import configparser
import stat
from pathlib import Path

import pytest

from support.container_images import pip_settings

INDEX = "https://user:password@index.example/simple"


def test_the_index_may_hold_a_password_so_nobody_else_reads_it_and_it_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", INDEX)

    with pip_settings(tmp_path) as (file, _):
        written = configparser.ConfigParser(interpolation=None)
        written.read(file)
        assert written["global"]["index-url"] == INDEX
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700

    assert list(tmp_path.iterdir()) == []
