"""Opens files that others may have put there: no pipe, device or folder, a link only if asked to; bounded."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path


@contextmanager
def open_regular(path: Path, *, follows_links: bool = False) -> Iterator[BufferedReader]:
    """The file, to be read. Raises OSError whose `strerror` follows `cannot be read:`."""
    # O_NONBLOCK: opening a pipe must not wait for its writer; regular files ignore it.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follows_links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP and not follows_links:
            raise OSError(errno.ELOOP, "it is a link") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def read_regular(path: Path, max_bytes: int, *, follows_links: bool = False) -> bytes:
    """The file as a whole. Raises OSError as `open_regular`, also for one that is larger.

    Its size is looked at before, so that no file can make us take more memory than it may.
    """
    with open_regular(path, follows_links=follows_links) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise OSError(errno.EFBIG, f"it has more than {max_bytes} bytes")
        return file.read(size)
