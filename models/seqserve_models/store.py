"""The folder that archives are published in: whole files, versions that never change."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shlex import quote

from seqserve_models.errors import SettingInvalid, StoreUnwritable, VersionExists

SUM, CHECKPOINT, REPORT, UNFINISHED = ".mar.sha256", ".checkpoint.pt", ".report.html", ".unfinished.pt"
ATTESTATION = ".mar.sig"
VERSION_PATTERN = re.compile(r"[1-9][0-9]{0,17}")


def archive_path(store: Path, name: str, version: str) -> Path:
    """Where an archive lies in its store."""
    return store / f"{name}-{version}.mar"


def beside(archive: Path, suffix: str) -> Path:
    """The file of a suffix that belongs to an archive and lies beside it."""
    return archive.with_name(archive.name.removesuffix(".mar") + suffix)


def choose_version(store: Path, name: str, version: str | None, *, resumes: str | None = None) -> str:
    """The version to build: the one asked for, or the next number.

    resumes: the version whose unfinished training goes on. An unfinished training keeps its number.
    Raises SettingInvalid, VersionExists, and StoreUnwritable where the store is no folder that can be
    written.
    """
    _check_folder(store)
    if version is None and resumes is None:
        return str(max(_versions(store, name, UNFINISHED), default=0) + 1)
    chosen = version or resumes or ""
    if VERSION_PATTERN.fullmatch(chosen) is None:
        raise SettingInvalid(f"version {chosen!r}", hint="versions are whole numbers from 1")
    if int(chosen) in _versions(store, name):
        raise _exists(store, name, chosen)
    if chosen != resumes and int(chosen) in _versions(store, name, UNFINISHED):
        raise _is_unfinished(store, name, chosen)
    return chosen


def is_version_used(store: Path, name: str, version: str) -> bool:
    """Whether a file of that version is there, or an unfinished training keeps it."""
    return int(version) in _versions(store, name, UNFINISHED)


def publish(content: bytes, store: Path, name: str, version: str, companions: Mapping[str, bytes]) -> Path:
    """Write an archive, its SHA-256 and its companions (by suffix) whole or not at all; return its path.

    The sum comes first: it claims the version against another build, and whoever sees the archive
    finds its sum. Raises VersionExists, StoreUnwritable.
    """
    archive, digest = archive_path(store, name, version), hashlib.sha256(content).hexdigest()
    files = {SUM: f"{digest}  {archive.name}\n".encode(), **companions}
    _check_folder(store)
    try:
        store.mkdir(parents=True, exist_ok=True)
        with _written_aside(content, archive) as aside, ExitStack() as claims:
            if archive.exists():
                raise _exists(store, name, version)
            for suffix, part in files.items():
                claims.enter_context(_claimed(beside(archive, suffix), part, archive))
            aside.replace(archive)
        beside(archive, UNFINISHED).unlink(missing_ok=True)
        _sync_folder(store)
    except FileExistsError as error:
        raise _exists(store, name, version) from error
    except OSError as error:
        raise StoreUnwritable(f"{archive} cannot be written: {error.strerror or error}") from error
    return archive


def put_companion(content: bytes, archive: Path, suffix: str) -> None:
    """Write a file beside an archive, whole, over the one before. Raises StoreUnwritable."""
    path = beside(archive, suffix)
    try:
        with _written_aside(content, path) as aside:
            aside.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StoreUnwritable(f"{path} cannot be written: {error.strerror or error}") from error


def keep_unfinished(content: bytes, store: Path, name: str, version: str) -> Path:
    """Write the checkpoint of a training that goes on, over the one before. Raises StoreUnwritable."""
    path = beside(archive_path(store, name, version), UNFINISHED)
    try:
        store.mkdir(parents=True, exist_ok=True)
        with _written_aside(content, path) as aside:
            aside.replace(path)
    except OSError as error:
        raise StoreUnwritable(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def drop_unfinished(store: Path, name: str, version: str) -> None:
    """Forget the unfinished training of a version, if there is one."""
    beside(archive_path(store, name, version), UNFINISHED).unlink(missing_ok=True)


def finished_checkpoints(store: Path, name: str) -> list[Path]:
    """Of all published versions of a model, the newest first."""
    versions = sorted(_versions(store, name), reverse=True)
    paths = (archive_path(store, name, str(version)) for version in versions)
    return [beside(path, CHECKPOINT) for path in paths if path.exists() and beside(path, CHECKPOINT).exists()]


def _check_folder(store: Path) -> None:
    """Found out before hours of training, not after them."""
    if store.exists() and not store.is_dir():
        raise StoreUnwritable(f"{store} is not a folder", hint="--output names the model store")
    there = next(folder for folder in (store.absolute(), *store.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise StoreUnwritable(f"{store}: {there} is not a folder", hint="--output names the model store")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StoreUnwritable(f"{store} cannot be written: no permission in {there}")


def _versions(store: Path, name: str, *more_suffixes: str) -> set[int]:
    """Numbers in use. A sum without its archive counts: somebody is publishing that version."""
    suffixes = "|".join(map(re.escape, (".mar", SUM, ATTESTATION, CHECKPOINT, REPORT, *more_suffixes)))
    pattern = re.compile(re.escape(name) + rf"-([1-9][0-9]{{0,17}})(?:{suffixes})")
    found = (pattern.fullmatch(path.name) for path in store.glob("*"))
    return {int(match[1]) for match in found if match is not None}


def _exists(store: Path, name: str, version: str) -> VersionExists:
    return VersionExists(
        f"version {version} of {name} is in {store} already, and versions are immutable",
        hint="leave the version out to build the next number",
    )


def _is_unfinished(store: Path, name: str, version: str) -> VersionExists:
    path = beside(archive_path(store, name, version), UNFINISHED)
    return VersionExists(
        f"version {version} of {name} is kept by an unfinished training",
        hint=f"go on with --from-checkpoint {quote(str(path))}, or remove that file",
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
