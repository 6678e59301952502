"""Who serves an archive says so with a shared lock on its file, which ends with the process, however it ends.

The locks are flock(2)'s: they hold between processes and containers of one machine, not between machines.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from seqserve.shortage import shortage_of

# A link is not followed, and a pipe with nobody at its other end does not keep us waiting.
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
SERVED = "a gateway serves it"
CLAIMED = "another command looks at it or prunes it"
REPLACED = "it was replaced a moment ago"
# A claim lasts for a moment. One that lasts longer, as of a stopped command, must not keep us from serving.
TRIES, PAUSE_SECONDS = 200, 0.01


class Lease:
    """A shared lock on an archive, until `close`.

    fault: why there is no lock, in words; the archive can be served all the same.
    """

    def __init__(self, descriptor: int | None = None, fault: str = "") -> None:
        self._descriptor = descriptor
        self.fault = fault

    def close(self) -> None:
        """Let go; a second time does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.close()  # of one that was asked for in a thread which came too late for it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def hold(path: Path) -> Lease:
    """A lease on the archive of that path; waits for a moment while somebody claims it.

    An archive that cannot be opened, as one that is gone, gives an empty lease without a fault: reading it
    tells better what is wrong. Raises OSError where no more files can be opened.
    """
    for _ in range(TRIES):
        try:
            lease = _try_to_hold(path)
        except OSError as error:
            if shortage_of(error):
                raise
            return Lease()
        if lease is not None:
            return lease
        time.sleep(PAUSE_SECONDS)
    return Lease(fault=CLAIMED)


@contextmanager
def claim(path: Path) -> Iterator[str]:
    """Nobody takes a lease in this block; gives "", or the reason why the archive must stay.

    Raises OSError where the archive cannot be opened.
    """
    descriptor = os.open(path, FLAGS)
    try:
        yield _why_not(path, descriptor)
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool | None:
    """Whether somebody holds a lease at this moment; None where that cannot be told."""
    try:
        with claim(path) as reason:
            return reason == SERVED if reason in ("", SERVED) else None
    except OSError:
        return None


def _try_to_hold(path: Path) -> Lease | None:
    """None where somebody claims the archive or has replaced it. Raises OSError where it cannot be opened."""
    descriptor = os.open(path, FLAGS)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        return None if _is_taken(error) else Lease(fault=error.strerror or str(error))
    # A prune may have removed the file after we opened it: the lock would be on a file without a name.
    if _is_named(path, descriptor):
        return Lease(descriptor)
    os.close(descriptor)
    return None


def _why_not(path: Path, descriptor: int) -> str:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # without EWOULDBLOCK: such as a network file system without locks
        if _is_taken(error):
            return SERVED if _is_shared(descriptor) else CLAIMED
        return f"whether a gateway serves it cannot be told here: {error.strerror or error}"
    return "" if _is_named(path, descriptor) else REPLACED


def _is_shared(descriptor: int) -> bool:
    """Whether who keeps us from an exclusive lock would let us have a shared one: then it is a lease."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_taken(error: OSError) -> bool:
    return error.errno == errno.EWOULDBLOCK


def _is_named(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False
