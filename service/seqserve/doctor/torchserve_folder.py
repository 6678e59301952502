"""The folder of the managed TorchServe: who may read it, who runs in it, and what was left there."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from seqserve.doctor.finding import Finding, fault, or_ok, warning
from seqserve.engines.torchserve.config import Layout
from seqserve.engines.torchserve.server import TEMPORARY_PREFIX

CHECK = "torchserve-folder"
OTHERS = 0o077
ANOTHER = "--torchserve-folder names another one"


def check_folder(wanted: Path | None, temporary: Path | None = None) -> list[Finding]:
    """wanted: the setting. temporary: the system's folder for temporary files; None: as Python finds it."""
    if wanted is None:
        parent = temporary or Path(tempfile.gettempdir())
        folder = parent / f"{TEMPORARY_PREFIX}12345678"  # as long as the name that it will get
        return or_ok(_unfit(folder), CHECK, f"a temporary one will be made in {parent}")
    folder = wanted.absolute()
    if not folder.exists():
        return or_ok(_unfit(folder), CHECK, f"{folder} will be made")
    findings = [*_too_long(folder), *_open(folder), *_strange(folder)] or [*_held(folder), *_left(folder)]
    return or_ok(findings, CHECK, f"{folder} is private, and nobody runs in it")


def nearest(path: Path) -> Path:
    """The path, or the first above it that exists."""
    return next(one for one in (path, *path.absolute().parents) if one.exists())


def _unfit(folder: Path) -> Iterator[Finding]:
    """What keeps a folder that is not there yet from being made."""
    yield from _too_long(folder)
    parent = nearest(folder)
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        yield fault(CHECK, f"{folder} cannot be made: {parent} cannot be written to", f"{ANOTHER}.")


def _too_long(folder: Path) -> Iterator[Finding]:
    if Layout(folder).is_too_long:
        yield fault(CHECK, f"{folder} is too long for the sockets in it", f"{ANOTHER}, with a shorter path.")


def _open(folder: Path) -> Iterator[Finding]:
    about = folder.stat()
    if not stat.S_ISDIR(about.st_mode):
        yield fault(CHECK, f"{folder} is no folder", f"{ANOTHER}.")
    elif about.st_uid != os.geteuid():
        yield fault(CHECK, f"{folder} belongs to user {about.st_uid}, not to {os.geteuid()}", f"{ANOTHER}.")
    elif about.st_mode & OTHERS:
        found = f"{folder} is open to others (mode {stat.S_IMODE(about.st_mode):04o}); tokens will lie there"
        yield fault(CHECK, found, f"Close it: chmod 700 {quote(str(folder))}.")


def _strange(folder: Path) -> Iterator[Finding]:
    if strangers := Layout(folder).strangers:
        yield fault(CHECK, f"{folder} holds {strangers[0]}, which is not TorchServe's", f"{ANOTHER}.")


def _held(folder: Path) -> Iterator[Finding]:
    if _is_locked(folder / "lock"):
        found = f"another gateway's TorchServe runs in {folder}"
        yield fault(CHECK, found, "Stop that gateway, or name another folder with --torchserve-folder.")


def _left(folder: Path) -> Iterator[Finding]:
    """What is there though nobody runs; the next start replaces it, and until then it lies about."""
    keys = Layout(folder).keys
    if keys.exists() and not _is_locked(folder / "lock"):
        found = f"{keys} was left by a TorchServe that died; its tokens are good for nothing"
        yield warning(CHECK, found, f"Remove it, or let the next start replace it: rm {quote(str(keys))}.")


def _is_locked(lock: Path) -> bool:
    """Whether a TorchServe runs there: it holds this lock as long as it lives, however it dies.

    The one that is tried here lasts for a moment, and only where somebody has made the file.
    """
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
