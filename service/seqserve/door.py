"""Lets requests in until a drain closes it; then it says so to all who come, until nobody does.

gRPC's server cancels what has reached it and no handler yet when it is stopped, with a status that says
nothing and that no client retries. So it is stopped when no more calls come, as far as that can be.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from seqserve.errors import ShuttingDown

QUIET_SECONDS = 0.1


@dataclass(slots=True)
class Door:
    """One for all ports. turned_away: how many came after it was closed."""

    is_closed: bool = False
    turned_away: int = 0

    def enter(self) -> None:
        """Raise ShuttingDown once it is closed."""
        if self.is_closed:
            self.turned_away += 1
            raise ShuttingDown("the gateway is shutting down")

    async def close(self, most_seconds: float) -> None:
        """Close it, and return when nobody has come for a moment, at the latest after `most_seconds`."""
        self.is_closed = True
        loop = asyncio.get_running_loop()
        latest = loop.time() + most_seconds
        while loop.time() < latest:
            before = self.turned_away
            await asyncio.sleep(min(QUIET_SECONDS, most_seconds))
            if self.turned_away == before:
                return
