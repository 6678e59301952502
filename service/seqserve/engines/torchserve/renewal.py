"""Renews the tokens of a TorchServe of our own before they expire."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from seqserve.engines.timing import Time
from seqserve.engines.torchserve.management import Management
from seqserve.engines.torchserve.tokens import KINDS, KeyFile, TokenKind
from seqserve.errors import EngineUnavailable, SeqserveError

log = structlog.get_logger()

SHARE_LEFT = 0.2
"""Tokens are renewed when so much of their life is left."""
LONGEST_PAUSE_SECONDS = 60.0
"""Between two looks, since clocks are set and machines sleep."""
SHORTEST_PAUSE_SECONDS = 0.2
FIRST_RETRY_SECONDS = 5.0
"""After a renewal that failed, and twice as long after each further one: each new token ends the one before,
which users may hold."""


class Renewal:
    """Looks at one server's tokens.

    token_seconds: how long each lives. is_up: whether the server takes calls, as far as is known; one that
    does not is left alone, since it gets new tokens when it starts.
    """

    def __init__(
        self,
        tokens: KeyFile,
        management: Management,
        *,
        token_seconds: float,
        is_up: Callable[[], bool],
        time: Time | None = None,
    ) -> None:
        self._tokens = tokens
        self._management = management
        self._is_up = is_up
        self._time = time or Time()
        self._spare_seconds = SHARE_LEFT * token_seconds
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._is_failing = False

    async def run(self) -> None:
        """Renew until this task is cancelled."""
        while True:
            await self._time.sleep(await self._pause_after_look())

    async def look(self) -> float:
        """Renew what is due, once; seconds until the next is. Raises EngineUnavailable."""
        for kind in KINDS:
            if self._tokens.seconds_left(kind) < self._spare_seconds:
                await self._renew(kind)
        return min(map(self._tokens.seconds_left, KINDS)) - self._spare_seconds

    async def _renew(self, kind: TokenKind) -> None:
        await self._management.renew(kind)
        if self._tokens.seconds_left(kind) < self._spare_seconds:
            raise EngineUnavailable(f"TorchServe's key file tells no new {kind} token")
        log.info("torchserve token renewed", kind=kind)

    async def _pause_after_look(self) -> float:
        """Look, and say once that it fails; how long to wait for the next look, in seconds."""
        if not self._is_up():
            self._retry_seconds = FIRST_RETRY_SECONDS
            return self._retry_seconds
        try:
            pause_seconds = await self.look()
        except SeqserveError as error:
            return self._note_failure(str(error))
        except Exception as error:
            log.exception("torchserve token not renewed")
            return self._note_failure(repr(error))
        if self._is_failing:
            log.info("torchserve tokens are renewed again")
        self._is_failing, self._retry_seconds = False, FIRST_RETRY_SECONDS
        return min(max(pause_seconds, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)

    def _note_failure(self, reason: str) -> float:
        if not self._is_failing and self._is_up():
            log.warning("torchserve token not renewed", reason=reason)
            self._is_failing = True
        self._tokens.forget()  # somebody else may have renewed them
        pause_seconds = self._retry_seconds
        self._retry_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
        return pause_seconds
