"""Watches over a TorchServe of our own: what it has, whether it answers, how long its tokens last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import structlog

from seqserve.engines.base import EngineObserver, Presence
from seqserve.engines.torchserve.management import Management, Registered, RegisteredModel
from seqserve.engines.torchserve.registration import Registration
from seqserve.engines.torchserve.tokens import KINDS, KeyFile
from seqserve.errors import EngineUnavailable, SeqserveError
from seqserve.signature import Signature

log = structlog.get_logger()

CALM_SECONDS = 3.0
UNREST_SECONDS = 0.5
"""Between two looks, while something is away."""
HUNG_SECONDS = 15.0
"""A server that has not answered for so long is ended and started again; half of it, and it is away."""
LOST_SECONDS = 30.0
"""A version without a worker for so long is registered anew: TorchServe gives up on workers at last."""
TOKEN_SHARE_LEFT = 0.2
"""Tokens are renewed when so much of their life is left."""


class Watch:
    """Compares what is registered with what should be, and heals it; tells who is away and who is back.

    token_seconds: how long a token lives.
    on_hung: called when the server runs and does not answer; to be set by who can end it.
    """

    def __init__(
        self,
        tokens: KeyFile,
        management: Management,
        registration: Registration,
        *,
        presence: Presence,
        observer: EngineObserver,
        token_seconds: float,
    ) -> None:
        self.on_hung: Callable[[], None] = lambda: None
        self._tokens = tokens
        self._management = management
        self._registration = registration
        self._presence = presence
        self._observer = observer
        self._token_seconds = token_seconds
        self._is_due = asyncio.Event()
        self._is_up = True
        self._unanswered_since: float | None = None
        self._away_since: dict[tuple[str, str], float] = {}

    @property
    def is_up(self) -> bool:
        """Whether the server takes calls, as far as is known."""
        return self._is_up

    def note_away(self, signature: Signature) -> None:
        """A batch has shown it: refuse callers, and look at once."""
        key = signature.name, signature.version
        self._away_since.setdefault(key, time.monotonic())
        self._presence.note_away(*key)
        self._is_due.set()

    def note_down(self) -> None:
        """The server has ended, and everything in it."""
        self._is_up = False
        self._note_all_away()

    def note_up(self) -> None:
        """The server has been started again, and holds nothing yet."""
        self._is_up = True
        self._observer.note_restart()
        self._tokens.forget()
        self._unanswered_since = None
        self._is_due.set()

    async def run(self) -> None:
        """Watch until this task is cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(UNREST_SECONDS if self._away_since else CALM_SECONDS):
                    await self._is_due.wait()
            self._is_due.clear()
            if self._is_up:
                await self._look_safely()

    async def look(self) -> None:
        """Compare and heal, once. Raises EngineUnavailable where the server does not answer."""
        await self._renew_tokens()
        expected, changes = self._registration.settled(), self._registration.changes
        registered = await self._management.models()
        if changes != self._registration.changes:
            return  # somebody came or went meanwhile: what was read is old
        looks = [self._follow(signature, _find(registered, signature)) for signature in expected]
        await asyncio.gather(*looks)
        await self._remove_strays(registered)
        await self._follow_defaults({signature.name for signature in expected}, registered)

    async def _look_safely(self) -> None:
        try:
            await self.look()
        except EngineUnavailable as error:
            self._note_unanswered(str(error))
        except SeqserveError as error:
            log.warning("torchserve could not be put right", reason=str(error))
        except Exception:
            log.exception("torchserve could not be looked at")
        else:
            self._unanswered_since = None

    async def _renew_tokens(self) -> None:
        for kind in KINDS:
            if self._tokens.seconds_left(kind) < TOKEN_SHARE_LEFT * self._token_seconds:
                await self._management.renew(kind)
                log.info("torchserve token renewed", kind=kind)

    async def _follow(self, signature: Signature, found: Registered | None) -> None:
        """Bring one version into the state that it should be in."""
        key = signature.name, signature.version
        try:
            if found is None or self._is_lost(key):
                await self._bring_again(signature)
            elif found.workers != self._registration.workers:
                self._report_drift("workers", *key)
                await self._management.scale(*key, self._registration.workers)
            elif not found.ready_workers:
                self.note_away(signature)
                return
        except SeqserveError as error:
            log.warning("model not put right", model=key[0], version=key[1], reason=str(error))
            return
        if await self._presence.bring_back(*key):
            self._away_since.pop(key, None)

    async def _bring_again(self, signature: Signature) -> None:
        key = signature.name, signature.version
        self._report_drift("missing", *key)
        self.note_away(signature)
        await self._registration.register_again(signature)
        self._away_since[key] = time.monotonic()

    async def _remove_strays(self, registered: Mapping[str, RegisteredModel]) -> None:
        for name, model in registered.items():
            for version in model.versions:
                if self._registration.is_stray(name, version):
                    self._report_drift("unexpected", name, version)
                    await self._registration.follow_default(name)  # the default one cannot be taken away
                    await self._management.unregister(name, version)

    async def _follow_defaults(self, names: set[str], registered: Mapping[str, RegisteredModel]) -> None:
        for name in names & registered.keys():
            wished = self._registration.default(name)
            if wished and registered[name].default != wished:
                self._report_drift("default", name, wished)
                await self._registration.follow_default(name)

    def _report_drift(self, what: str, name: str, version: str) -> None:
        """Say what differs, but for what a restart of the server brings along."""
        if (name, version) not in self._away_since or what != "missing":
            log.warning("torchserve has drifted", what=what, model=name, version=version)
            self._observer.note_drift(what)

    def _is_lost(self, key: tuple[str, str]) -> bool:
        since = self._away_since.get(key)
        return since is not None and time.monotonic() - since > LOST_SECONDS

    def _note_all_away(self) -> None:
        for signature in self._registration.wanted():
            self.note_away(signature)

    def _note_unanswered(self, reason: str) -> None:
        now = time.monotonic()
        if self._unanswered_since is None:
            self._unanswered_since = now
            log.warning("torchserve does not answer", reason=reason)
            return
        if now - self._unanswered_since > HUNG_SECONDS / 2:
            self._note_all_away()
        if now - self._unanswered_since > HUNG_SECONDS:
            log.error("torchserve hangs; it is ended and started again")
            self._unanswered_since = None
            self.on_hung()


def _find(registered: Mapping[str, RegisteredModel], signature: Signature) -> Registered | None:
    model = registered.get(signature.name)
    return model.versions.get(signature.version) if model is not None else None
