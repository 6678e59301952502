"""The control: the same gateway, with a leak of memory, descriptors and threads that the soak must find."""

from __future__ import annotations

import itertools
import os
import threading
import time

import numpy as np

from seqserve.cli import main

PAUSE_SECONDS = 0.5
BYTES = 128 << 10
"""A quarter of a MiB a second, as 80 images are."""


def leak() -> None:
    """Until the process ends."""
    kept: list[object] = []
    for turn in itertools.count():
        kept += [np.ones(BYTES, np.uint8), os.dup(2)]
        if turn % 10 == 0:
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    threading.Thread(target=leak, daemon=True).start()
    main()
