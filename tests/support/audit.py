"""What the interpreter was asked to open, to connect to or to run, as its audit events tell it.

Source: Python's audit events table. A hook stays for the life of a process, so there is one, off by default.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_WATCHED = {
    "open",
    "socket.connect",
    "socket.getaddrinfo",
    "subprocess.Popen",
    "os.system",
    "pickle.find_class",
}
_listeners: list[Audited] = []


@dataclass
class Audited:
    """Names and arguments of the events, in their order."""

    events: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    @property
    def opened(self) -> list[str]:
        """Paths of files that were opened; numbers of files that were open before are left out."""
        return [str(what[0]) for name, what in self.events if name == "open" and not isinstance(what[0], int)]

    @property
    def beside_files(self) -> list[tuple[str, tuple[Any, ...]]]:
        """All that was no file."""
        return [event for event in self.events if event[0] != "open"]


@contextmanager
def audited() -> Iterator[Audited]:
    """What happens in the block, in any thread."""
    listener = Audited()
    _listeners.append(listener)
    try:
        yield listener
    finally:
        _listeners.remove(listener)


def _hook(name: str, arguments: tuple[Any, ...]) -> None:
    if _listeners and name in _WATCHED:
        for listener in _listeners:
            listener.events.append((name, arguments))


sys.addaudithook(_hook)
