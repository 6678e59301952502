"""What a process has run out of for a moment, told from what is wrong with the thing that met it."""

from __future__ import annotations

import errno
import os

NO_THREAD = "can't start new thread"
"""Python's words where the system gives none: a limit of memory, or of processes, has been reached."""
_NO_FILE = errno.EMFILE, errno.ENFILE
_WORDS = (NO_THREAD, *map(os.strerror, _NO_FILE))


def shortage_of(error: BaseException | None) -> str:
    """The words for files or threads that were wanting, to an error or to what it was raised from; "" else.

    Memory is not among them: whoever tries again for want of it takes it from the others.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_FILE:
            return os.strerror(error.errno)
        if isinstance(error, RuntimeError):  # torch's own, too, has errno's words alone
            found = [words for words in _WORDS if words in str(error)]
            if found:
                return found[0]
        error = error.__cause__
    return ""
