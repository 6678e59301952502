"""A fixed number of threads, on which the last bits of every sum depend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# One: the same on every machine, and the zoo's models are too small to gain from more.
BUILD_THREADS = 1


@contextmanager
def fixed_threads(count: int = BUILD_THREADS) -> Iterator[None]:
    """Run torch's CPU operations on `count` threads, then give the former number back."""
    former = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(former)
