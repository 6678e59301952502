"""What the HTTP port takes from its callers at most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from seqserve.errors import Overloaded


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits of the HTTP port.

    max_body_bytes: of one request. body_timeout_seconds: for a body to arrive whole and to be read.
    buffered_bodies: how many of the largest are held at once, or as many more as they are smaller.
    """

    max_body_bytes: int
    body_timeout_seconds: float
    buffered_bodies: int = 16

    @property
    def max_buffered_bytes(self) -> int:
        """Of all bodies at once, from their first byte until their answer is sent."""
        return self.buffered_bodies * self.max_body_bytes


class Buffered:
    """The bytes of all bodies, and of their answers, that are held at the moment.

    Probes and metrics have no body, and always pass.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """One request's share, given back at the end of the block."""
        share = Share(self)
        try:
            yield share
        finally:
            self._bytes -= share.taken_bytes

    def take(self, count: int) -> None:
        """Hold so many bytes more. Raises Overloaded."""
        if self._bytes + count > self._max_bytes:
            raise Overloaded("the request bodies that are held at the moment leave no room for this one")
        self.add(count)

    def add(self, count: int) -> None:
        """Hold so many bytes more, room or not: what follows waits for it."""
        self._bytes += count


class Share:
    """What one request holds."""

    def __init__(self, buffered: Buffered) -> None:
        self._buffered = buffered
        self.taken_bytes = 0

    def take(self, count: int) -> None:
        """Hold so many bytes more. Raises Overloaded."""
        self._buffered.take(count)
        self.taken_bytes += count

    def add_answer(self, count: int) -> None:
        """Hold an answer's bytes too; it has been computed, so it is never refused."""
        self._buffered.add(count)
        self.taken_bytes += count
