"""The control: the same gateway, which leaks so much of memory, descriptors, threads and tasks as it is told.

`leaking.py RATES serve …`, RATES: JSON, a second of each of `memory_bytes`, `descriptors`, `threads` and `tasks`.
The soak chooses them a few times as high as what it lets pass, so that a leak that is found says how small one may be.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

from seqserve.cli import main

PAUSE_SECONDS = 0.25
Leak = Callable[[int], list[object]]
"""So many of one kind, and what holds them."""


class Loops:
    """Each event loop of asyncio that runs, whoever made it: they all go through one method."""

    def __init__(self) -> None:
        self.running: set[asyncio.AbstractEventLoop] = set()
        self._run_forever = asyncio.BaseEventLoop.run_forever

    def note(self) -> None:
        """From now on."""
        run_forever, running = self._run_forever, self.running

        def noted(loop: asyncio.BaseEventLoop) -> None:
            running.add(loop)
            try:
                run_forever(loop)
            finally:
                running.discard(loop)

        asyncio.BaseEventLoop.run_forever = noted  # type: ignore[assignment, method-assign]  # no other place sees all

    def leak(self, count: int) -> list[object]:
        """So many tasks on each, which never end."""
        return [
            asyncio.run_coroutine_threadsafe(asyncio.Event().wait(), loop)
            for loop in [*self.running]
            for _ in range(count)
        ]


def leak_threads(count: int) -> list[object]:
    """Threads that never end."""
    threads = [threading.Thread(target=threading.Event().wait, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return [*threads]


def leak_without_end(rates: dict[str, float], leaks: dict[str, Leak]) -> None:
    """As much of each as its rate has made due."""
    kept: list[object] = []
    done = dict.fromkeys(leaks, 0)
    began = time.monotonic()
    while True:
        time.sleep(PAUSE_SECONDS)
        for name, leak in leaks.items():
            due = int(rates[name] * (time.monotonic() - began)) - done[name]
            kept.append(leak(due))
            done[name] += due


if __name__ == "__main__":
    chosen = json.loads(sys.argv.pop(1))
    loops = Loops()
    loops.note()
    kinds: dict[str, Leak] = {
        "memory_bytes": lambda count: [np.ones(count, np.uint8)],
        "descriptors": lambda count: [os.dup(2) for _ in range(count)],
        "threads": leak_threads,
        "tasks": loops.leak,
    }
    threading.Thread(target=leak_without_end, args=(chosen, kinds), daemon=True).start()
    main()
