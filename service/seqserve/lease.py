"""Who serves an archive says so with a shared lock on its file, which ends with the process, however it ends.

The locks are flock(2)'s: they hold between processes and containers of one machine, not between machines.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A link is not followed, and a pipe with nobody at its other end does not keep us waiting.
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
SERVED = "a gateway serves it"


class Lease:
    """A shared lock on an archive, until `close`. An archive that cannot be locked is served without one."""

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None
        with contextlib.suppress(OSError):  # reading the archive tells better what is wrong with it
            self._descriptor = os.open(path, FLAGS)
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def close(self) -> None:
        """Let go; a second time does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def claim(path: Path) -> Iterator[str]:
    """Nobody takes a lease in this block; gives "", or the reason why the archive must stay.

    Raises FileNotFoundError.
    """
    descriptor = os.open(path, FLAGS)
    try:
        yield _why_not(descriptor)
    finally:
        os.close(descriptor)


def is_served(path: Path) -> bool:
    """Whether somebody holds a lease at this moment."""
    try:
        with claim(path) as reason:
            return reason == SERVED
    except OSError:
        return False


def _why_not(descriptor: int) -> str:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return SERVED
    except OSError as error:  # such as a network file system without locks
        return f"whether a gateway serves it cannot be told here: {error.strerror or error}"
    return ""
