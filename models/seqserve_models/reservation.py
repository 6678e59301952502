"""A version number that no other build of this machine takes while its model is made."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from seqserve_models.errors import StoreUnwritable, VersionExists
from seqserve_models.store import archive_path, beside, is_version_used

MARK = ".building"


class Reservation:
    """Holds `version` until `close`; it ends with the process, however that ends."""

    def __init__(self, path: Path, version: str, descriptor: int) -> None:
        self.version = version
        self._path, self._descriptor = path, descriptor

    def close(self) -> None:
        """Others may take the number, where it was not used; an empty store goes as well."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        if not any(self._path.parent.iterdir()):
            self._path.parent.rmdir()


def reserve(store: Path, name: str, version: str, *, is_fixed: bool) -> Reservation:
    """The version that was planned or, unless it is fixed, the next one that nobody builds or has built.

    Raises VersionExists, StoreUnwritable.
    """
    number = int(version)
    while True:
        path = _mark(store, name, str(number))
        descriptor = _locked(path)
        if descriptor is not None and (is_fixed or not is_version_used(store, name, str(number))):
            return Reservation(path, str(number), descriptor)
        if descriptor is not None:
            Reservation(path, str(number), descriptor).close()
        elif is_fixed:
            raise VersionExists(f"version {version} of {name} is being built by another process")
        number += 1


def _mark(store: Path, name: str, version: str) -> Path:
    path = beside(archive_path(store, name, version), MARK)
    return path.with_name(f".{path.name}")


def _locked(path: Path) -> int | None:
    """A descriptor of the file with a lock that nobody else has; None where another build has it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreUnwritable(f"{path.parent} cannot be written: {error.strerror or error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # a file system without locks: publishing finds out who was first
        return descriptor
    if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
        return descriptor
    os.close(descriptor)  # its former owner has just removed it
    return _locked(path)
