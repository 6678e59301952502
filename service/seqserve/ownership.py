"""Who may change what a path leads to, besides root and the user that we are."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

ROOT = 0
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
MOST_LINKS = 40
"""On one way. Source: the kernel's MAXSYMLINKS."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A folder in which others could change something. fault: words that follow it; hint: what closes it."""

    folder: Path
    fault: str
    hint: str


def first_opening(path: Path) -> Opening | None:
    """Where others could change what is in a folder, or put another one in its place; None: nowhere.

    Whoever may write a folder above it, or one that holds a link on the way to it, can do that as well.
    Raises OSError.
    """
    found = path.stat()
    if fault := who_else_writes(found):
        return Opening(path, fault, closing(path, found))
    for folder, name in _way(path):
        about = folder.lstat()
        if (fault := who_else_writes(about)) and not _is_kept_by_sticky(about, folder / name):
            return Opening(folder, f"{fault}, and the way to {path} goes through it", closing(folder, about))
    return None


def who_else_writes(found: os.stat_result) -> str:
    """Words that follow the path, where others may write it; "" where nobody else may.

    A sticky folder is no exception: others may put files into it. Rights by POSIX ACLs show in the group's.
    """
    if found.st_uid not in (ROOT, os.geteuid()):
        return f"belongs to user {found.st_uid}, who is neither root nor this one, {os.geteuid()}"
    if found.st_mode & OTHERS_WRITE:
        return f"may be written by its group or by others (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


def closing(path: object, found: os.stat_result) -> str:
    """What to do about a path which `who_else_writes` complains of, as a hint with the command."""
    path = quote(str(path))
    if found.st_uid not in (ROOT, os.geteuid()):
        return f"close it: chown {os.geteuid()} {path} && chmod go-w {path}"
    return f"close it: chmod go-w {path}"


def _way(path: Path) -> Iterator[tuple[Path, str]]:
    """Each name that is looked up on the way from / to a path, through links too, and the folder it is in."""
    at, links = Path("/"), 0
    names = list(reversed(path.absolute().parts[1:]))
    while names:
        if (name := names.pop()) == "..":
            at = at.parent
            continue
        yield at, name
        if not (at / name).is_symlink():
            at = at / name
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = (at / name).readlink()
        names += [part for part in reversed(target.parts) if part != target.anchor]
        at = Path("/") if target.is_absolute() else at


def _is_kept_by_sticky(folder: os.stat_result, name: Path) -> bool:
    """Whether others may write the folder, but not what has that name in it, as in /tmp."""
    keepers = (ROOT, os.geteuid())
    is_sticky = bool(folder.st_mode & stat.S_ISVTX) and folder.st_uid in keepers
    return is_sticky and name.lstat().st_uid in keepers
