"""Follows the configuration file: what may change while the gateway serves does, the rest is told of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from seqserve.errors import SettingsInvalid
from seqserve.settings import Settings

log = structlog.get_logger()

LIVE = frozenset({"log_level", "models", "version_policy"})
"""Settings that are taken over while the gateway runs."""


@dataclass(slots=True)
class ConfigWatch:
    """Reads the file again when its bytes have changed.

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

    def __post_init__(self) -> None:
        self._content = self._bytes()

    async def look(self) -> None:
        """Take over what has changed. A file with a fault changes nothing."""
        content = self._bytes()
        if content is None or content == self._content:
            return
        self._content = content
        try:
            settings = self.read()
        except SettingsInvalid as error:
            self.note("refused")
            log.error("configuration refused; the old one holds", config=str(self.path), reason=str(error))
            return
        await self._take_over(settings)

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
