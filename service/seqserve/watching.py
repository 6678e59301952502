"""Tells when a folder may have changed: by the system's own events, and by a look every few seconds.

Events do not come from network file systems and through some mounts, so a look is taken in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import structlog
from watchfiles import awatch

log = structlog.get_logger()

WatchMode = Literal["auto", "poll", "off"]
DEBOUNCE_MS = 100


async def changes(folder: Path, mode: WatchMode, look_seconds: float) -> AsyncIterator[None]:
    """Yield whenever a look is due; for `off` never. It ends only with its task.

    auto: at the system's events, and every `look_seconds`; poll: only the latter.
    """
    if mode == "off":
        return
    while True:
        if mode == "auto":
            async for _ in _events(folder, look_seconds):
                yield
        await asyncio.sleep(look_seconds)
        yield


async def _events(folder: Path, look_seconds: float) -> AsyncIterator[None]:
    """Ends where the system gives no events, as for a folder that is gone."""
    try:
        async for _ in awatch(
            folder,
            debounce=DEBOUNCE_MS,
            rust_timeout=round(look_seconds * 1000),
            yield_on_timeout=True,
            recursive=False,
        ):
            yield
    except (OSError, RuntimeError) as error:
        log.warning(
            "no events from this folder; it is looked at instead", folder=str(folder), reason=str(error)
        )
