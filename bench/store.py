"""The archive that is measured."""

from __future__ import annotations

import shutil
from pathlib import Path

from examples.demo.command import run

MODEL = "digit_mlp"


def find_archive(store: Path) -> Path:
    """The highest version of the model in a store; built where there is none. Raises CommandFailed."""
    if not _archives(store):
        run("build", MODEL, "--output", str(store))
    return max(_archives(store), key=lambda path: int(path.stem.rpartition("-")[2]))


def store_of(archive: Path, folder: Path) -> Path:
    """A new folder that has this archive alone, with what lies beside it."""
    folder.mkdir()
    for path in archive.parent.glob(f"{archive.stem}.mar*"):
        shutil.copy(path, folder)
    return folder


def _archives(store: Path) -> list[Path]:
    return list(store.glob(f"{MODEL}-*.mar"))
