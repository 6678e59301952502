"""How long a change in the store is waited for: copies are not atomic, and nor are replacements."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from seqserve.repository.shelf import Shelved, Stamp
from seqserve.trust import Trust

SETTLE_SECONDS = 2.0
"""What has not changed for so long is not about to change."""


@dataclass(slots=True)
class Patience:
    """Remembers which archives are whole, and since when others have been incomplete or away."""

    clock: Callable[[], float] = time.monotonic
    _whole: dict[Path, Stamp] = field(default_factory=dict)
    _incomplete: dict[Path, tuple[Stamp, float]] = field(default_factory=dict)
    _absent: dict[Path, float] = field(default_factory=dict)

    async def is_settled(self, archive: Shelved, trust: Trust) -> bool:
        """Whether its hash and its attestation fit, or it has not changed for so long that it never will."""
        if self._whole.get(archive.path) == archive.stamp:
            return True
        if await asyncio.to_thread(archive.is_whole, trust):
            self._incomplete.pop(archive.path, None)
            self._whole[archive.path] = archive.stamp  # a look must not read every archive anew
            return True
        stamp, since = self._incomplete.get(archive.path, (None, 0.0))
        if stamp != archive.stamp:
            self._incomplete[archive.path] = archive.stamp, self.clock()
            return False
        if self.clock() - since < SETTLE_SECONDS:
            return False
        del self._incomplete[archive.path]
        return True

    def is_gone(self, path: Path) -> bool:
        """Whether a file that is not there has been away for so long that nobody is just replacing it."""
        since = self._absent.setdefault(path, self.clock())
        return self.clock() - since >= SETTLE_SECONDS

    def look(self, present: Collection[Path]) -> None:
        """Forget what has come back, and what has left."""
        self._whole = {path: stamp for path, stamp in self._whole.items() if path in present}
        self._incomplete = {path: since for path, since in self._incomplete.items() if path in present}
        self._absent = {path: since for path, since in self._absent.items() if path not in present}
