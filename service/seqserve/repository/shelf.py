"""What lies in a model store at one moment: archives by model and version, and whether each is whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from seqserve.archive import SIDECAR_SUFFIX

Stamp = tuple[int, ...]
"""Changes whenever the archive or its hash file does: inode, size and time of either."""

Shelf = dict[str, dict[str, "Shelved"]]


@dataclass(frozen=True, slots=True)
class Shelved:
    """An archive in the store, by what its file's name claims."""

    name: str
    version: str
    path: Path
    stamp: Stamp

    def sha256(self) -> str:
        """Of the file as it is now; "" where it cannot be read."""
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return ""

    def is_whole(self) -> bool:
        """Whether the hash beside it fits: until then somebody may still be copying."""
        try:
            text = _sidecar(self.path).read_text("utf-8", "replace")
        except OSError:
            return False
        return text[:64] == self.sha256()


def take_stock(paths: Iterable[Path]) -> Shelf:
    """The archives of these paths: model → version → archive.

    One that vanishes meanwhile, or that cannot be looked at, is left out.
    """
    shelf: Shelf = {}
    for path in paths:
        try:
            stamp = (*_stamp(path), *_stamp(_sidecar(path)))
        except OSError:
            continue
        name, version = claimed_by(path)
        shelf.setdefault(name, {})[version] = Shelved(name, version, path, stamp)
    return shelf


def claimed_by(path: Path) -> tuple[str, str]:
    """Name and version as the file's name claims them; version "0" where it claims none."""
    name, _, version = path.stem.rpartition("-")
    return (name, version) if name and version.isdecimal() else (path.stem, "0")


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + SIDECAR_SUFFIX)


def _stamp(path: Path) -> Stamp:
    """Nothing for a hash file that is not there. Raises FileNotFoundError for an archive that is not."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        if path.suffix == SIDECAR_SUFFIX:
            return ()
        raise
    return found.st_ino, found.st_size, found.st_mtime_ns
