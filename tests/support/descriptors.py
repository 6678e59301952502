"""Open files of a process, and its limit of them."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def open_files(process: int) -> int:
    """How many it has now."""
    return len(list((Path("/proc") / str(process) / "fd").iterdir()))


@contextmanager
def limited(process: int, files: int) -> Iterator[None]:
    """While it may have so many open files and not one more; what it has beyond stays open."""
    before = resource.prlimit(process, resource.RLIMIT_NOFILE)
    resource.prlimit(process, resource.RLIMIT_NOFILE, (files, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_NOFILE, before)


async def back_to(process: int, files: int) -> None:
    """Return when it has at most so many open files."""
    while open_files(process) > files:  # noqa: ASYNC110 - another process sets no event
        await asyncio.sleep(0.05)
