"""Watches over a TorchServe of our own: whether it answers, and whether it has what it should."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from seqserve.engines.base import EngineObserver, Presence
from seqserve.engines.timing import Time
from seqserve.engines.torchserve.management import Management, Registered, RegisteredModel
from seqserve.engines.torchserve.registration import Key, Registration
from seqserve.engines.torchserve.rounds import UNREST_SECONDS, Rounds
from seqserve.engines.torchserve.tokens import KeyFile
from seqserve.errors import EngineUnavailable, SeqserveError
from seqserve.signature import Signature

log = structlog.get_logger()

HUNG_SECONDS = 15.0
"""A server that has not answered for so long is ended and started again; half of it, and it is away."""
BUSY_SECONDS = 180.0
"""Nor is a server excused for longer that is busy: it gives a worker 120 s to start."""
PING_SECONDS = 5.0
LOST_SECONDS = 30.0
"""A version that is away for so long gets new workers: TorchServe gives up on them at last."""
HEAL_SECONDS = 5.0
"""A look waits so long for what it heals; one slow version keeps nobody else from being looked at."""


class Watch:
    """Compares what is registered with what should be, and heals it; tells who is away and who is back.

    healed_at_once: versions that are given workers at the same time; each takes seconds of CPU.
    on_gone: called when a version is not there, and before it is registered again.
    ping: asks the server over gRPC whether it answers within so many seconds; raises EngineUnavailable.
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
        ping: Callable[[float], Awaitable[None]],
        on_gone: Callable[[Signature], None] = lambda _: None,
        healed_at_once: int = 2,
        time: Time | None = None,
    ) -> None:
        self.on_hung: Callable[[], None] = lambda: None
        self._tokens = tokens
        self._management = management
        self._registration = registration
        self._presence = presence
        self._observer = observer
        self._ping = ping
        self._on_gone = on_gone
        self._time = time or Time()
        self._rounds = Rounds(self._time)
        self._is_up = True
        self._looked_at = self._time.now()
        self._unanswered_since: float | None = None
        self._busy_since: float | None = None
        self._away_since: dict[Key, float] = {}
        self._told_missing: set[Key] = set()
        self._try_at: dict[Key, float] = {}
        self._healing: dict[Key, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(healed_at_once)

    @property
    def is_up(self) -> bool:
        """Whether the server takes calls, as far as is known."""
        return self._is_up

    def note_away(self, signature: Signature) -> None:
        """A batch has shown it: refuse callers, and look at once."""
        if (signature.name, signature.version) not in self._away_since:
            self._rounds.call()
        self._mark_away(signature)

    def note_loaded(self, signature: Signature) -> None:
        """It has just been registered: what became of one with its number before counts no more."""
        self._away_since.pop(_key(signature), None)
        self._try_at.pop(_key(signature), None)
        self._told_missing.discard(_key(signature))

    def note_slow(self) -> None:
        """A batch takes long: perhaps it waits for a worker that has died unseen."""
        if self._time.now() - self._looked_at > UNREST_SECONDS:
            self._rounds.call()

    def note_down(self) -> None:
        """The server has ended, and everything in it."""
        self._is_up = False
        self._mark_all_away()

    def note_up(self) -> None:
        """The server has been started again, and holds nothing yet."""
        self._is_up = True
        self._told_missing = set(map(_key, self._registration.wanted()))
        self._try_at.clear()
        self._tokens.forget()
        self._observer.note_restart()
        self._unanswered_since = self._busy_since = None
        self._rounds.call()

    async def run(self) -> None:
        """Watch until this task is cancelled."""
        try:
            while True:
                is_calm = not self._away_since and self._unanswered_since is None
                await self._rounds.next(is_calm=is_calm)
                if self._is_up:
                    await self._look_safely()
        finally:
            for task in self._healing.values():
                task.cancel()
            await asyncio.gather(*self._healing.values(), return_exceptions=True)

    async def look(self) -> None:
        """Compare and heal, once. Raises EngineUnavailable where the server does not answer."""
        expected, changes = self._registration.settled(), self._registration.changes
        registered = await self._management.models()
        if changes != self._registration.changes:
            return  # somebody came or went meanwhile: what was read is old
        settled = {*map(_key, self._registration.settled())}
        expected = [signature for signature in expected if _key(signature) in settled]  # some are just going
        self._forget_unwanted()
        await self._heal(expected, registered)
        if changes == self._registration.changes:
            await self._remove_strays(registered)
            await self._follow_defaults({signature.name for signature in expected}, registered)

    async def _look_safely(self) -> None:
        self._looked_at = began = self._time.now()
        try:
            await self.look()
        except EngineUnavailable as error:
            await self._note_unanswered(str(error), began)
        except SeqserveError as error:
            log.warning("torchserve could not be put right", reason=str(error))
        except Exception:
            log.exception("torchserve could not be looked at")
        else:
            self._unanswered_since = self._busy_since = None

    async def _heal(self, expected: list[Signature], registered: Mapping[str, RegisteredModel]) -> None:
        """See to each version that nobody is seeing to yet, and wait a while for all of them."""
        for signature in expected:
            key = _key(signature)
            if key not in self._healing and self._time.now() >= self._try_at.get(key, 0.0):
                self._healing[key] = asyncio.create_task(
                    self._follow(signature, _find(registered, signature))
                )
        await self._time.wait(self._healing.values(), HEAL_SECONDS)
        self._healing = {key: task for key, task in self._healing.items() if not task.done()}

    async def _follow(self, signature: Signature, found: Registered | None) -> None:
        """Bring one version into the state that it should be in."""
        key = _key(signature)
        if found is None or not found.ready_workers:
            self._mark_away(signature)
        try:
            if found is None or found.workers != self._registration.workers or self._is_lost(key):
                async with self._places:
                    await self._put_right(signature, found)
            elif not found.ready_workers:
                return
            if await self._presence.bring_back(*key):
                self._away_since.pop(key, None)
        except SeqserveError as error:
            self._try_at[key] = self._time.now() + HEAL_SECONDS
            log.warning("model not put right", model=key[0], version=key[1], reason=str(error))
        except Exception:
            log.exception("model not put right", model=key[0], version=key[1])

    async def _put_right(self, signature: Signature, found: Registered | None) -> None:
        """Register a version anew, or give it the workers that it should have, and wait for them."""
        key = _key(signature)
        if found is None:
            self._on_gone(signature)
            if key not in self._told_missing:
                self._report_drift("missing", *key)
                self._told_missing.add(key)
            await self._registration.register_again(signature)
            self._told_missing.discard(key)
        elif found.workers != self._registration.workers:
            self._report_drift("workers", *key)
            await self._management.scale(*key, self._registration.workers)
        else:
            self._away_since[key] = self._time.now()  # and not again before that time has passed once more
            await self._registration.start_again(signature)
        if key in self._away_since:
            self._away_since[key] = self._time.now()
        self._rounds.call()

    async def _remove_strays(self, registered: Mapping[str, RegisteredModel]) -> None:
        strays = [(name, version) for name, model in registered.items() for version in model.versions]
        for name, version in strays:
            if self._registration.is_stray(name, version) and await self._registration.unregister(
                name, version
            ):
                self._report_drift("unexpected", name, version)

    async def _follow_defaults(self, names: set[str], registered: Mapping[str, RegisteredModel]) -> None:
        for name in names & registered.keys():
            wished = self._registration.default(name)
            if wished not in registered[name].versions or not self._registration.is_settled(name):
                continue  # it is just coming, and the default with it
            if registered[name].default != wished:
                self._report_drift("default", name, wished)
                await self._registration.follow_default(name)

    def _report_drift(self, what: str, name: str, version: str) -> None:
        log.warning("torchserve has drifted", what=what, model=name, version=version)
        self._observer.note_drift(what)

    def _forget_unwanted(self) -> None:
        wanted = set(map(_key, self._registration.wanted()))
        self._away_since = {key: since for key, since in self._away_since.items() if key in wanted}
        self._try_at = {key: when for key, when in self._try_at.items() if key in wanted}
        self._told_missing &= wanted

    def _is_lost(self, key: Key) -> bool:
        since = self._away_since.get(key)
        return since is not None and self._time.now() - since > LOST_SECONDS

    def _mark_away(self, signature: Signature) -> None:
        self._away_since.setdefault(_key(signature), self._time.now())
        self._presence.note_away(*_key(signature))

    def _mark_all_away(self) -> None:
        for signature in self._registration.wanted():
            self._mark_away(signature)

    async def _is_busy(self, began: float) -> bool:
        """While TorchServe starts a worker, HTTP that shares a thread with that call waits; gRPC does not.

        began: when it was first asked in vain, this time.
        """
        if not self._registration.is_at_work:
            return False
        if self._busy_since is None:
            self._busy_since = began
        if self._time.now() - self._busy_since > BUSY_SECONDS:
            return False
        try:
            await self._ping(PING_SECONDS)
        except EngineUnavailable:
            return False
        return True

    async def _note_unanswered(self, reason: str, began: float) -> None:
        if await self._is_busy(began):
            log.debug("torchserve is busy", reason=reason)
            self._unanswered_since = None
            return
        if not self._is_up:  # it has ended meanwhile
            return
        if self._unanswered_since is None:
            self._unanswered_since = began
            log.warning("torchserve does not answer", reason=reason)
        seconds = self._time.now() - self._unanswered_since
        if seconds > HUNG_SECONDS / 2:
            self._mark_all_away()
        if seconds > HUNG_SECONDS:
            log.error("torchserve hangs; it is ended and started again")
            self._unanswered_since = None
            self.on_hung()


def _key(signature: Signature) -> Key:
    return signature.name, signature.version


def _find(registered: Mapping[str, RegisteredModel], signature: Signature) -> Registered | None:
    model = registered.get(signature.name)
    return model.versions.get(signature.version) if model is not None else None
