"""What a process has run out of for a moment, told from what is wrong with the thing that met it."""

from __future__ import annotations

import errno
import os
import re

NO_THREAD = "can't start new thread"
"""Python's words where the system gives none: a limit of memory, or of processes, has been reached."""
_NO_FILE = errno.EMFILE, errno.ENFILE
_NO_FILE_WORDS = tuple(map(os.strerror, _NO_FILE))
# torch::jit's reader; only the first line is its own, as further ones may quote a module.
_TORCH_NO_FILE = re.compile(rf"open file failed because of errno ({'|'.join(map(str, _NO_FILE))})\b")


def shortage_of(error: BaseException | None) -> str:
    """The words for files or threads that were wanting, to an error or to what it was raised from; "" else.

    Memory is not among them: what is tried again for want of it takes it from those who are served.
    """
    while error is not None:
        if words := _wanting(error):
            return words
        error = error.__cause__
    return ""


def _wanting(error: BaseException) -> str:
    if isinstance(error, ImportError):
        return next((words for words in _NO_FILE_WORDS if str(error).endswith(words)), "")
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno in _NO_FILE else ""
    if isinstance(error, RuntimeError):
        if str(error) == NO_THREAD:
            return NO_THREAD
        found = _TORCH_NO_FILE.match(str(error))
        return os.strerror(int(found[1])) if found else ""
    return ""
