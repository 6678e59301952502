"""Renews the tokens of a TorchServe of our own before they expire."""

from __future__ import annotations

import structlog

from seqserve.engines.torchserve.management import Management
from seqserve.engines.torchserve.rounds import Time
from seqserve.engines.torchserve.tokens import KINDS, KeyFile
from seqserve.errors import SeqserveError

log = structlog.get_logger()

SHARE_LEFT = 0.2
"""Tokens are renewed when so much of their life is left."""
LONGEST_PAUSE_SECONDS = 60.0
"""Between two looks, since clocks are set and machines sleep."""
SHORTEST_PAUSE_SECONDS = 0.2


class Renewal:
    """Looks at one server's tokens; token_seconds: how long each lives."""

    def __init__(
        self, tokens: KeyFile, management: Management, *, token_seconds: float, time: Time | None = None
    ) -> None:
        self._tokens = tokens
        self._management = management
        self._time = time or Time()
        self._spare_seconds = SHARE_LEFT * token_seconds

    async def run(self) -> None:
        """Renew until this task is cancelled."""
        while True:
            pause_seconds = SHORTEST_PAUSE_SECONDS
            try:
                pause_seconds = await self.look()
            except SeqserveError as error:  # a server that is away has none; it gets new ones
                log.debug("torchserve token not renewed", reason=str(error))
            except Exception:
                log.exception("torchserve token not renewed")
            await self._time.sleep(min(max(pause_seconds, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS))

    async def look(self) -> float:
        """Renew what is due, once; seconds until the next is. Raises EngineUnavailable."""
        for kind in KINDS:
            if self._tokens.seconds_left(kind) < self._spare_seconds:
                await self._management.renew(kind)
                log.info("torchserve token renewed", kind=kind)
        return min(map(self._tokens.seconds_left, KINDS)) - self._spare_seconds
