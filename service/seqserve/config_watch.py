"""Follows the configuration file: what may change while the gateway serves does, the rest is told of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from seqserve.errors import SettingsInvalid
from seqserve.settings import Settings
from seqserve.watching import changes

log = structlog.get_logger()

LIVE = frozenset({"clients", "log_level", "models", "version_policy"})
"""Settings that are taken over while the gateway runs."""

SETTLE_SECONDS = 0.5
"""Between the look that finds new bytes and the one that finds them unchanged, and takes them over."""


@dataclass(slots=True)
class ConfigWatch:
    """Reads the file again when its bytes have changed, and two looks have seen the same.

    Most programs write a file in several steps, and a half-written one may well be valid.

    read: the settings of flags, environment and file, as at the start; raises SettingsInvalid.
    apply: awaited with new settings, in which only those of LIVE differ.
    note: hears `loaded` or `refused`, for metrics.
    """

    path: Path
    settings: Settings
    read: Callable[[], Settings]
    apply: Callable[[Settings], Awaitable[None]]
    note: Callable[[str], None]
    _content: bytes | None = None
    _seen: bytes | None = None
    _is_away: bool = False

    def __post_init__(self) -> None:
        self._content = self._seen = self._bytes()

    async def follow(self) -> None:
        """Look whenever there may be news, until this task is cancelled."""
        folder, start = self.path.absolute().parent, self.settings
        async for _ in changes(folder, start.watch, start.watch_interval_seconds):
            try:
                while await self.look():  # noqa: ASYNC110 - a file sets no asyncio.Event
                    await asyncio.sleep(SETTLE_SECONDS)
            except Exception:
                log.exception("the configuration could not be followed", config=str(self.path))

    async def look(self) -> bool:
        """Take over what has changed and settled; a file with a fault changes nothing.

        Whether another look is due, after SETTLE_SECONDS: the file may still be being written.
        """
        seen, self._seen = self._seen, self._bytes()
        self._tell_of_absence()
        if self._seen is None or self._seen == self._content:
            return False
        if self._seen != seen:
            return True
        settings = self._read()
        if self._bytes() != self._seen:
            return True
        self._content = self._seen
        if isinstance(settings, SettingsInvalid):
            self.note("refused")
            log.error("configuration refused; the old one holds", config=str(self.path), reason=str(settings))
        else:
            await self._take_over(settings)
        return False

    def _tell_of_absence(self) -> None:
        """Once, when the file has gone; what it said holds."""
        is_away = self._seen is None
        if is_away and not self._is_away:
            log.warning("the configuration file is away; what it said holds", config=str(self.path))
        self._is_away = is_away

    def _read(self) -> Settings | SettingsInvalid:
        try:
            return self.read()
        except SettingsInvalid as error:
            return error

    async def _take_over(self, settings: Settings) -> None:
        changed = {
            name for name in Settings.model_fields if getattr(settings, name) != getattr(self.settings, name)
        }
        if fixed := changed - LIVE:
            log.warning("these settings need a restart", config=str(self.path), settings=sorted(fixed))
        if live := changed & LIVE:
            self.settings = self.settings.model_copy(update={name: getattr(settings, name) for name in live})
            await self.apply(self.settings)
            log.info("configuration taken over", config=str(self.path), settings=sorted(live))
        self.note("loaded")

    def _bytes(self) -> bytes | None:
        """None where the file is away, as in the moment of its replacement."""
        try:
            return self.path.read_bytes()
        except OSError:
            return None
