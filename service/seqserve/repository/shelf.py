"""What lies in a model store at one moment: archives by model and version, and whether each is whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from seqserve.archive import SIDECAR_SUFFIX
from seqserve.errors import ArchiveUntrusted
from seqserve.regular_file import open_regular
from seqserve.trust import Trust, attestation_path

Stamp = tuple[int, ...]
"""Changes whenever the archive, its hash file or its attestation does: inode, size and time of each."""

HASH_CHARACTERS = 64

Shelf = dict[str, dict[str, "Shelved"]]


@dataclass(frozen=True, slots=True)
class Shelved:
    """An archive in the store, by what its file's name claims."""

    name: str
    version: str
    path: Path
    stamp: Stamp

    def sha256(self) -> str:
        """Of the file as it is now. Raises OSError where it cannot be read."""
        with open_regular(self.path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def is_whole(self, trust: Trust) -> bool:
        """Whether hash and attestation beside it fit: until then somebody may still be copying."""
        try:
            trust.look_first(self.path)
            with open_regular(_sidecar(self.path)) as file:
                listed = file.read(HASH_CHARACTERS)
            sha256 = self.sha256()
            trust.judge(self.path, sha256)
        except (OSError, ArchiveUntrusted):
            return False
        return listed == sha256.encode()


def take_stock(paths: Iterable[Path]) -> Shelf:
    """The archives of these paths: model → version → archive.

    One that vanishes meanwhile, or that cannot be looked at, is left out.
    """
    shelf: Shelf = {}
    for path in paths:
        try:
            beside = (_sidecar(path), attestation_path(path))
            stamp = (*_stamp(path), *(number for file in beside for number in _stamp_of_companion(file)))
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
    """Raises OSError."""
    found = path.lstat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _stamp_of_companion(path: Path) -> Stamp:
    """Nothing of one that is not there. Raises OSError."""
    try:
        return _stamp(path)
    except FileNotFoundError:
        return ()
