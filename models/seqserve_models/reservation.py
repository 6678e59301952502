"""A version number that no other build of this machine takes while its model is made."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from shlex import quote

from seqserve_models.errors import StoreUnwritable, VersionExists
from seqserve_models.store import archive_path, beside, is_version_used

MARK = ".building"
TRIES = 10


class Reservation:
    """Holds `version` until `close`; it ends with the process, however that ends.

    made_store: the folder was not there before, and goes again if nothing came into it.
    """

    def __init__(self, path: Path, version: str, descriptor: int, *, made_store: bool) -> None:
        self.version = version
        self._path, self._descriptor, self._made_store = path, descriptor, made_store

    def close(self) -> None:
        """Others may take the number, where it was not used."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        if self._made_store:
            with contextlib.suppress(OSError):  # it is not empty, or another build has removed it
                self._path.parent.rmdir()


def reserve(store: Path, name: str, version: str, *, is_fixed: bool) -> Reservation:
    """The version that was planned or, unless it is fixed, the next one that nobody builds or has built.

    Raises VersionExists, StoreUnwritable.
    """
    number, made_store = int(version), not store.exists()
    while True:
        path = _mark(store, name, str(number))
        descriptor = _locked(path)
        if descriptor is not None:
            reservation = Reservation(path, str(number), descriptor, made_store=made_store)
            if is_fixed or not is_version_used(store, name, str(number)):
                return reservation
            reservation.close()
        elif is_fixed:
            raise VersionExists(f"version {version} of {name} is being built by another process")
        number += 1


def _mark(store: Path, name: str, version: str) -> Path:
    path = beside(archive_path(store, name, version), MARK)
    return path.with_name(f".{path.name}")


def _locked(path: Path) -> int | None:
    """A descriptor of the file with a lock that nobody else has; None where another build has it."""
    descriptor = _opened(path)
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


def _opened(path: Path) -> int:
    for _ in range(TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Through a link, whoever else may write here would have us make or lock any file of ours.
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:  # another build has just removed the folder that it had made
            continue
        except OSError as error:
            if error.errno == errno.ELOOP:
                hint = f"look who has made it, and remove it: rm {quote(str(path))}"
                raise StoreUnwritable(f"{path.parent}: {path.name} is a link", hint=hint) from error
            raise StoreUnwritable(f"{path.parent} cannot be written: {error.strerror or error}") from error
    raise StoreUnwritable(f"{path.parent} cannot be written: it is removed again and again")
