"""What runs, read from /proc: the programs that a test started, and what those started."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

PROC = Path("/proc")
POLL_SECONDS = 0.01
LIMIT_SECONDS = 60.0


def is_running(program: int) -> bool:
    """Whether a process id is alive; a zombie is only a line in a table."""
    try:
        return _stat(program)[0] != "Z"
    except OSError:
        return False


def parent_of(program: int) -> int:
    """The id of the process that started it."""
    return int(_stat(program)[1])


def command_of(program: int) -> str:
    """Its command line, words separated by spaces."""
    return (PROC / str(program) / "cmdline").read_bytes().replace(b"\0", b" ").decode()


def family() -> set[int]:
    """What this test process started, and what that started, and so on."""
    return children_of(os.getpid())


def children_of(program: int) -> set[int]:
    """What a process started, and what that started, and so on."""
    parents: dict[int, int] = {}
    for entry in PROC.iterdir():
        with contextlib.suppress(OSError, ValueError):  # ended meanwhile, or no process at all
            parents[int(entry.name)] = parent_of(int(entry.name))
    found = {program}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {member for member in found - {program} if is_running(member)}


def one_of(family: set[int], words: str) -> int:
    """The member whose command line begins with a program and a first argument that hold these words."""
    return next(member for member in family if words in " ".join(command_of(member).split(" ")[:2]))


async def until(condition: Callable[[], object]) -> None:
    """Return when the condition holds. Raises TimeoutError where it does not come to hold."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - what happens outside this program sets no asyncio.Event
            await asyncio.sleep(POLL_SECONDS)


def _stat(program: int) -> list[str]:
    """Fields 3 and on of /proc/<pid>/stat: state, parent; the name before them may hold spaces."""
    return (PROC / str(program) / "stat").read_text().rpartition(")")[2].split()
