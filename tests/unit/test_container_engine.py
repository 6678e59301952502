"""Where images cannot be built, their tests are skipped with words that say what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support import container_engine
from support.container_engine import NotHere, running_engine


def tried(folder: Path) -> str:
    with pytest.raises(NotHere) as caught, running_engine(folder):
        pass
    return str(caught.value)


def test_who_is_not_root_hears_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert "as root" in tried(tmp_path / "storage")


@pytest.mark.parametrize(
    "system",
    [
        'NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="13"\n',
        'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="12"\n',
        None,
    ],
)
def test_nothing_is_installed_but_on_debian_12(
    system: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "os-release"
    if system is not None:
        file.write_text(system)
    monkeypatch.setattr(container_engine, "OS_RELEASE", file)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "buildah" else f"/bin/{name}")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("something was run"))

    assert tried(tmp_path / "storage") == "missing: buildah; they are installed on Debian 12 alone"
    assert not (tmp_path / "storage").exists()


def test_on_debian_12_what_is_missing_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "os-release"
    file.write_text('ID=debian\nVERSION_ID="12"\n')
    ran: list[str] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        ran.append(command[-1])
        return subprocess.CompletedProcess(command, 100, "", "E: no network")

    monkeypatch.setattr(container_engine, "OS_RELEASE", file)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "buildah" else f"/bin/{name}")
    monkeypatch.setattr(subprocess, "run", run)

    assert tried(tmp_path / "storage") == "missing: buildah; apt-get: E: no network"
    assert "apt-get install" in ran[0]
    assert "buildah" in ran[0]
