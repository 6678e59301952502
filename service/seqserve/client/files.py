"""Reads the files that a client is told to read, and waits for none: no pipe, device or folder; bounded."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MAX_BYTES = 2**20


def read_file(path: Path) -> bytes:
    """The file as a whole; links are followed, since secrets are mounted so. Raises OSError."""
    # O_NONBLOCK: opening a pipe must not wait for its writer; regular files ignore it.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if found.st_size > MAX_BYTES:
            raise OSError(errno.EFBIG, f"it has more than {MAX_BYTES} bytes", str(path))
        return file.read(MAX_BYTES)
