"""Whether others could read a key, or put another one in its place."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from shlex import quote

from seqserve_models.errors import SigningKeyUnusable

ROOT = 0
OF_GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def check_private(path: Path, found: os.stat_result) -> None:
    """Nobody else may do anything with it. Raises SigningKeyUnusable with the command that closes it."""
    _check_owner(path, found, "chown", "chmod 600")
    if found.st_mode & OF_GROUP_AND_OTHERS:
        raise SigningKeyUnusable(
            f"{path} may be read by others than its owner{_mode(found)}",
            hint=f"chmod 600 {quote(str(path))}",
        )


def check_unwritable(path: Path, found: os.stat_result) -> None:
    """Nobody else may write it, a file or a folder. Raises SigningKeyUnusable as above."""
    _check_owner(path, found, "chown", "chmod go-w")
    if found.st_mode & WRITABLE_BY_OTHERS:
        raise SigningKeyUnusable(
            f"{path} may be written by others than its owner{_mode(found)}",
            hint=f"chmod go-w {quote(str(path))}",
        )


def check_folders_of(path: Path) -> None:
    """Nobody else may replace a file, or the one that it is a link to. Raises SigningKeyUnusable, OSError."""
    for name in dict.fromkeys((path, path.resolve(strict=True))):
        folder, found = name.parent, name.parent.stat()
        if not _is_kept_by_sticky(folder, found, name):
            check_unwritable(folder, found)


def _is_kept_by_sticky(folder: Path, found: os.stat_result, name: Path) -> bool:
    """Whether others may put files into a folder, and not in that one's place, as in /tmp."""
    _check_owner(folder, found, "chown", "chmod go-w")
    if not found.st_mode & stat.S_ISVTX:
        return False
    _check_owner(name, name.lstat(), "chown -h")
    return True


def _check_owner(path: Path, found: os.stat_result, chown: str, chmod: str = "") -> None:
    if found.st_uid not in (ROOT, os.geteuid()):
        commands = (f"{chown} {os.geteuid()}", chmod)
        raise SigningKeyUnusable(
            f"{path} belongs to user {found.st_uid}, who is neither root nor this one, {os.geteuid()}",
            hint=" && ".join(f"{command} {quote(str(path))}" for command in commands if command),
        )


def _mode(found: os.stat_result) -> str:
    return f", mode {stat.S_IMODE(found.st_mode):04o}"
