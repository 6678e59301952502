"""Tells when a folder may have changed: by the system's own events, and by a look every few seconds.

Events do not come from network file systems and through some mounts, so a look is taken in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Literal

import structlog
from watchfiles import awatch

log = structlog.get_logger()

WatchMode = Literal["auto", "poll", "off"]
DEBOUNCE_MS = 100


async def changes(folder: Path, mode: WatchMode, look_seconds: float) -> AsyncGenerator[None]:
    """Yield whenever a look is due; for `off` never. It ends only with its task.

    auto: at the system's events, and every `look_seconds`; poll: only the latter.
    """
    if mode == "off":
        return
    is_told = False
    while True:
        if mode == "auto":
            try:
                async for _ in _events(folder, look_seconds):
                    is_told = False
                    yield
            except Exception as error:  # noqa: BLE001 - looking goes on whatever becomes of the events
                if not is_told:
                    log.warning(
                        "no events from this folder; it is looked at instead",
                        folder=str(folder), reason=str(error),
                    )  # fmt: skip
                is_told = True
        await asyncio.sleep(look_seconds)
        yield


def _events(folder: Path, look_seconds: float) -> AsyncIterator[object]:
    """Something for each event, and for each `look_seconds` without one; raises where there are no events."""
    return awatch(
        folder,
        debounce=DEBOUNCE_MS,
        rust_timeout=round(look_seconds * 1000),
        yield_on_timeout=True,
        recursive=False,
    )
