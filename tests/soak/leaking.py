"""The control: the same gateway, with a leak of memory, descriptors, threads and tasks that the soak must find."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time

import numpy as np

from seqserve.cli import main

PAUSE_SECONDS = 0.5
BYTES = 128 << 10
"""A quarter of a MiB a second, as 80 images are."""


class LoopsKept(asyncio.DefaultEventLoopPolicy):
    """Knows each event loop that was made."""

    loops: list[asyncio.AbstractEventLoop]

    def __init__(self) -> None:
        super().__init__()
        self.loops = []

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        self.loops.append(super().new_event_loop())
        return self.loops[-1]


def leak(loops: list[asyncio.AbstractEventLoop]) -> None:
    """Until the process ends."""
    kept: list[object] = []
    for turn in itertools.count():
        kept += [np.ones(BYTES, np.uint8), os.dup(2)]
        kept += [asyncio.run_coroutine_threadsafe(asyncio.Event().wait(), loop) for loop in loops]
        if turn % 10 == 0:
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    policy = LoopsKept()
    asyncio.set_event_loop_policy(policy)
    threading.Thread(target=leak, args=(policy.loops,), daemon=True).start()
    main()
