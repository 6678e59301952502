"""What is told of an error: whether files or threads were wanting, and not what it is about."""

from __future__ import annotations

import errno
import os

import pytest

from seqserve.errors import ArchiveInvalid
from seqserve.shortage import NO_THREAD, shortage_of

NO_FILES = "Too many open files"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, "any words"), NO_FILES),
        (OSError(errno.ENFILE, "any words"), os.strerror(errno.ENFILE)),
        (RuntimeError(NO_THREAD), NO_THREAD),
        (RuntimeError("open file failed because of errno 24 on fopen: Too many open files, file path: x"), NO_FILES),
        (OSError(errno.ENOENT, "No such file or directory"), ""),
        (MemoryError(), ""),
        (ImportError(f"libx.so: cannot open shared object file: {NO_FILES}"), NO_FILES),
        (ImportError("No module named 'x'"), ""),
        (RuntimeError(f"The following operation failed\n  raise Error('{NO_FILES}')\n{NO_THREAD}"), ""),
        (ArchiveInvalid(f"member {NO_FILES}: missing"), ""),
        (None, ""),
    ],
)  # fmt: skip
def test_an_error_tells_what_was_wanting(error: BaseException | None, words: str) -> None:
    assert shortage_of(error) == words


def test_so_does_one_that_was_raised_from_it() -> None:
    told = ArchiveInvalid("x-1.mar: the file cannot be read")
    told.__cause__ = ArchiveInvalid("the file cannot be read")
    told.__cause__.__cause__ = OSError(errno.EMFILE, NO_FILES)
    assert shortage_of(told) == NO_FILES
