"""A store's archives as the checks want them: verified, without their weights."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seqserve.archive import Archive, read_archive, scan_store
from seqserve.errors import ArchiveInvalid
from seqserve.signature import Signature
from seqserve.trust import Trust

HANDLER = "handler.py"


@dataclass(frozen=True, slots=True)
class SoundArchive:
    """An archive whose hashes agree.

    handler: the bytes of its handler.py. torchscript_sha256: of its `<name>.pt`, hexadecimal.
    doubt: why nobody trusted has attested it, though it is taken; else "".
    """

    path: Path
    size_bytes: int
    signature: Signature
    handler: bytes
    torchscript_sha256: str
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class StoreContents:
    """A store that was read. is_there: it is a folder; is_readable: whose files can be listed and opened."""

    folder: Path
    is_there: bool
    is_readable: bool
    sound: Sequence[SoundArchive] = ()
    unsound: Sequence[tuple[Path, ArchiveInvalid]] = ()

    @property
    def signatures(self) -> list[Signature]:
        """Of the sound archives."""
        return [archive.signature for archive in self.sound]

    @property
    def size_bytes(self) -> int:
        """Of the sound archives, on disk."""
        return sum(archive.size_bytes for archive in self.sound)


def read_contents(folder: Path, trust: Trust) -> StoreContents:
    """Every archive of a store, one after the other in memory; those that are not trusted are not sound."""
    is_there, is_readable = folder.is_dir(), os.access(folder, os.R_OK | os.X_OK)
    if not (is_there and is_readable):
        return StoreContents(folder, is_there, is_readable)
    sound: list[SoundArchive] = []
    unsound: list[tuple[Path, ArchiveInvalid]] = []
    for path in scan_store(folder):
        try:
            sound.append(_without_weights(path, read_archive(path, trust)))
        except ArchiveInvalid as error:
            unsound.append((path, error))
    return StoreContents(folder, is_there=True, is_readable=True, sound=sound, unsound=unsound)


def _without_weights(path: Path, archive: Archive) -> SoundArchive:
    with zipfile.ZipFile(io.BytesIO(archive.content)) as members:
        handler = members.read(HANDLER)
    weights = hashlib.sha256(archive.torchscript).hexdigest()
    return SoundArchive(path, len(archive.content), archive.signature, handler, weights, archive.doubt)
