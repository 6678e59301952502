"""One of several TorchServes that somebody else runs, and which versions it may be asked for."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from seqserve.engines.base import LoadedModel
from seqserve.engines.timing import Time
from seqserve.engines.torchserve.model import TorchServeModel
from seqserve.engines.torchserve.predictions import Predictions
from seqserve.errors import EngineUnavailable, Overloaded, SeqserveError
from seqserve.signature import Signature

log = structlog.get_logger()

Key = tuple[str, str]
"""A version: its model's name and its own."""

PING_SECONDS = 5.0
RECHECK_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
CHECKS_AT_ONCE = 2


class GoldenRows(Protocol):
    """What an archive says that its model answers."""

    async def check(self, model: LoadedModel, device: str) -> float:
        """Ask the model for them; the largest |Δ|. Raises SeqserveError where it answers otherwise."""
        ...


@dataclass(slots=True)
class Copy:
    """A version as this server has it.

    reason: why it is not good. due_at: when its golden rows are to be asked for again.
    """

    model: TorchServeModel
    golden: GoldenRows
    due_at: float
    is_good: bool = False
    reason: str = ""
    pause_seconds: float = FIRST_PAUSE_SECONDS


class CheckedServer:
    """Is asked for the golden rows of each version by itself; those that it answers otherwise are not good.

    target: one address, in gRPC's syntax.
    """

    def __init__(
        self,
        target: str,
        predictions: Predictions,
        *,
        device: str,
        check_seconds: float,
        on_change: Callable[[], None],
        time: Time,
    ) -> None:
        """device: where it runs models. check_seconds: for all golden rows of a version.

        on_change: called when a version has become good, or is good no more.
        """
        self.target = target
        self.is_away = False
        self._away_reason = ""
        self._predictions = predictions
        self._device = device
        self._check_seconds = check_seconds
        self._on_change = on_change
        self._time = time
        self._copies: dict[Key, Copy] = {}
        self._told: set[Key] = set()
        """What is left out, once that is in the log, however often its load is tried."""
        self._slots = asyncio.Semaphore(CHECKS_AT_ONCE)
        predictions.connect(target)

    async def load(self, signature: Signature, golden: GoldenRows) -> None:
        """Ask for a version at once; one that is known to be away is asked when it is back."""
        self.add(signature, golden)
        key = signature.name, signature.version
        if not self.is_away:
            self._copies[key].due_at = math.inf  # no look is to ask as well
            if await self._takes_calls():
                await self._check(key)

    def add(self, signature: Signature, golden: GoldenRows) -> None:
        """Have a version asked for from the next look on."""
        model = TorchServeModel(
            signature, self._predictions, workers=1, on_away=_ignore, on_unload=_hold_nothing
        )
        self._copies[signature.name, signature.version] = Copy(model, golden, due_at=self._time.now())

    def drop(self, key: Key) -> None:
        """Ask for a version no more."""
        self._copies.pop(key, None)

    def has(self, key: Key) -> bool:
        """Whether it answers a version as its archive says."""
        copy = self._copies.get(key)
        return copy is not None and copy.is_good

    def fault_of(self, key: Key) -> str:
        """Why it does not; "" while it has not been asked."""
        copy = self._copies.get(key)
        return self._away_reason or (copy.reason if copy is not None else "")

    def suspect(self, key: Key) -> None:
        """A batch has failed: if it was good, it is to be asked at the next look."""
        copy = self._copies.get(key)
        if copy is not None and copy.is_good:
            copy.due_at = self._time.now()

    def disconnect(self) -> None:
        """It is asked no more."""
        self._predictions.disconnect()

    async def look(self) -> None:
        """Ask whether it takes calls, and for golden rows that are due."""
        if await self._takes_calls():
            now = self._time.now()
            await asyncio.gather(
                *[self._check(key) for key, copy in self._copies.items() if copy.due_at <= now]
            )

    async def _takes_calls(self) -> bool:
        try:
            await self._predictions.ping(PING_SECONDS)
        except EngineUnavailable as error:
            self._note_away(str(error))
            return False
        if self.is_away:
            log.info("torchserve answers again", address=self.target)
        self.is_away, self._away_reason = False, ""
        return True

    def _note_away(self, reason: str) -> None:
        if not self.is_away:
            log.warning("torchserve does not answer", address=self.target, reason=reason)
        self.is_away, self._away_reason = True, reason
        for copy in self._copies.values():  # what comes back may hold other models
            copy.is_good, copy.due_at, copy.pause_seconds = False, self._time.now(), FIRST_PAUSE_SECONDS
        self._on_change()

    async def _check(self, key: Key) -> None:
        async with self._slots:
            copy = self._copies.get(key)
            if copy is None:
                return
            copy.due_at = self._time.now() + RECHECK_SECONDS  # who suspects it meanwhile has it asked again
            try:
                async with asyncio.timeout(self._check_seconds):
                    await copy.golden.check(copy.model, self._device)
            except Overloaded as error:
                if not copy.is_good:  # a good one is only busy
                    self._fail(key, copy, str(error))
            except TimeoutError:
                self._fail(key, copy, f"no answer within {self._check_seconds:g} s")
            except SeqserveError as error:
                self._fail(key, copy, _words(error))
            else:
                self._pass(key, copy)

    def _pass(self, key: Key, copy: Copy) -> None:
        copy.pause_seconds, copy.reason = FIRST_PAUSE_SECONDS, ""
        if key in self._told:
            log.info("torchserve is asked again", address=self.target, model=key[0], version=key[1])
            self._told.discard(key)
        if not copy.is_good:
            copy.is_good = True
            self._on_change()

    def _fail(self, key: Key, copy: Copy, reason: str) -> None:
        copy.is_good, copy.reason = False, reason
        copy.due_at = self._time.now() + copy.pause_seconds
        copy.pause_seconds = min(2 * copy.pause_seconds, LONGEST_PAUSE_SECONDS)
        if key not in self._told:
            self._told.add(key)
            log.warning("torchserve is left out", address=self.target, model=key[0], version=key[1],
                        reason=reason)  # fmt: skip
        self._on_change()


def _words(error: SeqserveError) -> str:
    """TorchServe's own words, where there are some: these reasons are for the log alone."""
    details = getattr(error.__cause__, "details", None)
    said = str(details() or "").partition("\n")[0] if callable(details) else ""
    return said or str(error)


def _ignore(_: Signature) -> None:
    """The check itself says what it found."""


async def _hold_nothing(_: Signature) -> None:
    """It is the server's."""
