"""The folder that archives are published in: whole files, versions that never change."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqserve_models.errors import SettingInvalid, StoreUnwritable, VersionExists

VERSION_PATTERN = re.compile(r"[1-9][0-9]{0,17}")


def archive_path(store: Path, name: str, version: str) -> Path:
    """Where an archive lies in its store."""
    return store / f"{name}-{version}.mar"


def sum_path(archive: Path) -> Path:
    """Where the SHA-256 of an archive lies: beside it."""
    return archive.with_name(f"{archive.name}.sha256")


def choose_version(store: Path, name: str, version: str | None) -> str:
    """The version to build: the one asked for, or the next number.

    Raises SettingInvalid, VersionExists, and StoreUnwritable where the store is no folder.
    """
    _check_folder(store)
    if version is None:
        return str(max(_versions(store, name), default=0) + 1)
    if VERSION_PATTERN.fullmatch(version) is None:
        raise SettingInvalid(f"version {version!r}", hint="versions are whole numbers from 1")
    if int(version) in _versions(store, name):
        raise _exists(store, name, version)
    return version


def publish(content: bytes, store: Path, name: str, version: str) -> tuple[Path, str]:
    """Write an archive and its SHA-256 whole or not at all; return its path and the SHA-256 in hex.

    The sum comes first: it claims the version against another build, and whoever sees the archive
    finds its sum. Raises VersionExists, StoreUnwritable.
    """
    archive, digest = archive_path(store, name, version), hashlib.sha256(content).hexdigest()
    _check_folder(store)
    try:
        store.mkdir(parents=True, exist_ok=True)
        with _written_aside(content, archive) as aside:
            if archive.exists():
                raise _exists(store, name, version)
            with _claimed(sum_path(archive), f"{digest}  {archive.name}\n".encode(), archive):
                aside.replace(archive)
        _sync_folder(store)
    except FileExistsError as error:
        raise _exists(store, name, version) from error
    except OSError as error:
        raise StoreUnwritable(f"{archive} cannot be written: {error.strerror or error}") from error
    return archive, digest


def _check_folder(store: Path) -> None:
    if store.exists() and not store.is_dir():
        raise StoreUnwritable(f"{store} is not a folder", hint="--output names the model store")


def _versions(store: Path, name: str) -> set[int]:
    """Numbers in use. A sum without its archive counts: somebody is publishing that version."""
    pattern = re.compile(re.escape(name) + r"-([1-9][0-9]{0,17})\.mar(?:\.sha256)?")
    found = (pattern.fullmatch(path.name) for path in store.glob("*"))
    return {int(match[1]) for match in found if match is not None}


def _exists(store: Path, name: str, version: str) -> VersionExists:
    return VersionExists(
        f"version {version} of {name} is in {store} already, and versions are immutable",
        hint="leave the version out to build the next number",
    )


@contextmanager
def _written_aside(content: bytes, archive: Path) -> Iterator[Path]:
    """The content in a hidden file of the same folder, gone again unless it was renamed."""
    aside = archive.with_name(f".{archive.name}.{secrets.token_hex(4)}.partial")
    try:
        _write_new(aside, content)
        yield aside
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _claimed(path: Path, content: bytes, archive: Path) -> Iterator[None]:
    """A new file that stays only when the archive is there afterwards. Raises FileExistsError."""
    _write_new(path, content)
    try:
        yield
    finally:
        if not archive.exists():
            path.unlink()


def _write_new(path: Path, content: bytes) -> None:
    """The whole content, on the disk, or no file. Raises FileExistsError."""
    with path.open("xb") as target:
        try:
            target.write(content)
            target.flush()
            os.fsync(target.fileno())
        except BaseException:
            path.unlink()
            raise


def _sync_folder(folder: Path) -> None:
    """Make the renames survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
