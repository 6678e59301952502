"""New versions come into the store and old ones go, broken archives among them."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from pathlib import Path

from support.truth import MODEL, put_version

BROKEN = 5
"""Every fifth is."""


async def reload_without_end(store: Path, pause_seconds: float) -> None:
    """Versions 2, 3 … one after the other, each in the place of the last sound one; 1 is there."""
    serving = "1"
    for number in itertools.count(2):
        await asyncio.sleep(pause_seconds)
        is_broken = number % BROKEN == 0
        await asyncio.to_thread(bring, store, str(number), is_broken=is_broken)
        await asyncio.sleep(pause_seconds)
        remove(store, str(number) if is_broken else serving)
        serving = serving if is_broken else str(number)


def bring(store: Path, version: str, *, is_broken: bool) -> None:
    """Put a version there, archive and hash; a broken one lacks its last bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = put_version(Path(folder), version)
        if is_broken:
            path.write_bytes(path.read_bytes()[:-100])
        for file in (path, path.with_name(f"{path.name}.sha256")):
            shutil.copy(file, store)


def remove(store: Path, version: str) -> None:
    """Take a version away."""
    for path in store.glob(f"{MODEL}-{version}.mar*"):
        path.unlink()
