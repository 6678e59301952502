"""What the memory of a server asks for, as against that of a program that ends soon."""

from __future__ import annotations

import ctypes
import gc

KEPT_BYTES = 64 * 2**20
LARGEST_IN_HEAP_BYTES = 32 * 2**20
ARENAS = 2
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # <malloc.h>


def keep_heap() -> None:
    """Keep what large messages were in, instead of fetching it from the kernel anew for each.

    To be called once, when the server starts; a C library other than glibc is left as it is. glibc gives the
    top of its heap back as soon as 128 KiB of it are free, and gRPC copies a message of 800 KB a few times:
    each copy would cost hundreds of page faults. It also gives threads arenas of their own, up to eight a
    core, and what is free in one is of no use to another. Source: mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, LARGEST_IN_HEAP_BYTES)
        mallopt(M_ARENA_MAX, ARENAS)


def freeze_collector() -> None:
    """To be called when the program is loaded, before models: the collector looks through none of it again.

    torch's 200,000 objects take it a tenth of a second, in which nobody is answered.
    """
    gc.collect()
    gc.freeze()
    # It looks through its oldest generation once that has grown by a quarter of what it last found there.
    # Those were torch's objects: 50,000 of refused calls would wait for it, which are 10 MB and more.
    gc.collect()
