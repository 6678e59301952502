"""Lets requests in until a drain closes it; then it says so to all who come, until nobody does.

gRPC's server cancels what has reached it and no handler yet when it is stopped, with a status that says
nothing and that no client retries. So it is stopped when no more calls come, as far as that can be.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from seqserve.errors import ShuttingDown

QUIET_SECONDS = 0.1
GAP_SECONDS = 0.005
"""Time enough for what gRPC holds to reach a handler."""
LAST_SECONDS = 0.25


class SideDoor(Protocol):
    """Lets in requests that never come to `Door.enter`. turned_away: how many came after `drain`."""

    @property
    def turned_away(self) -> int:
        """See there."""
        ...

    def drain(self) -> None:
        """Refuse all who come from now on."""
        ...


@dataclass(slots=True)
class Door:
    """One for all ports. side_doors: are closed with it, and who is turned away there counts as well."""

    is_closed: bool = False
    side_doors: list[SideDoor] = field(default_factory=list)
    _turned_away: int = 0

    @property
    def turned_away(self) -> int:
        """How many came after it was closed."""
        return self._turned_away + sum(door.turned_away for door in self.side_doors)

    def enter(self) -> None:
        """Raise ShuttingDown once it is closed."""
        if self.is_closed:
            self._turned_away += 1
            raise ShuttingDown("the gateway is shutting down")

    async def close(self, most_seconds: float) -> None:
        """Close it, and return when nobody has come for a moment.

        After `most_seconds` a shorter moment does, and where not even that comes, it is over.
        """
        self.is_closed = True
        for door in self.side_doors:
            door.drain()
        if not await self._is_quiet(QUIET_SECONDS, most_seconds):
            await self._is_quiet(GAP_SECONDS, min(LAST_SECONDS, most_seconds))

    async def _is_quiet(self, seconds: float, most_seconds: float) -> bool:
        """Whether there were so many seconds in which nobody came, waited for at most that long."""
        loop = asyncio.get_running_loop()
        latest = loop.time() + most_seconds
        while loop.time() < latest:
            before = self.turned_away
            await asyncio.sleep(seconds)
            if self.turned_away == before:
                return True
        return False
