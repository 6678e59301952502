"""Where log lines go: standard error, as long as it takes them.

A full disk, or a pipe whose reader is gone or asleep, costs lines and nothing else: whoever logs goes on.
"""

from __future__ import annotations

import os
import stat
import threading
from typing import Any, TextIO

import structlog


def never_wait(file: TextIO) -> None:
    """Have writes to a pipe that is full fail, and not wait for its reader: gRPC's own lines go there too.

    The pipe is opened anew, since the flag would hold for everybody who writes into it.
    """
    try:
        number = file.fileno()
        if stat.S_ISFIFO(os.fstat(number).st_mode):
            opened = os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_NONBLOCK)
            os.dup2(opened, number)
            os.close(opened)
    except OSError:  # no file of the system, no reader any more, or somebody else's pipe
        return


class Lines:
    """What structlog hands finished lines to.

    Behind Python's buffers, where the file has them: they would keep what could not be written for the end of
    the program, which then has status 120.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._raw: Any = getattr(getattr(file, "buffer", None), "raw", None)
        self._lock = threading.Lock()
        self._lost = 0
        self._is_torn = False

    def msg(self, line: str) -> None:
        """Write it, or count it as lost; how many were is said behind the first that is written again."""
        with self._lock:
            is_written = self._write(f"\n{line}\n" if self._is_torn else f"{line}\n")
            self._lost += not is_written
            lost = self._lost if is_written else 0
            self._lost -= lost
        if lost:
            structlog.get_logger().warning("log lines lost", lines=lost)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg

    def _write(self, text: str) -> bool:
        try:
            if self._raw is None:
                self._file.write(text)
                self._file.flush()
                return True
            return self._write_raw(text.encode("utf-8", "backslashreplace"))
        except (OSError, ValueError):  # ValueError: the file has been closed
            return False

    def _write_raw(self, left: bytes) -> bool:
        while left:
            written = self._raw.write(left)
            if not written:  # None: it would have to be waited for
                return False
            left = left[written:]
            self._is_torn = bool(left)
        return True
