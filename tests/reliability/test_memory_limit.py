"""A real gateway that gets no more memory: what does not fit fails alone, or the process ends; no answer is wrong."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from support.checked import CALL_SECONDS, Checked, Figures, checked
from support.served import Served, serving

SPARE_BYTES = 96 << 20
EXAMPLES = 1024
LARGE_AT_ONCE = 64
"""Of 3 MB each, and as much again in every copy."""
WANT_OF_MEMORY = {"OK", "RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN", "UNAVAILABLE"}
"""UNKNOWN: gRPC itself had no memory to take the message up. UNAVAILABLE: the process has ended."""
ENDED_BY_ITSELF = {-signal.SIGABRT, -signal.SIGSEGV}
"""C++ ends where it finds no memory; whoever started the process starts the next one."""


@contextmanager
def confined(process: int) -> Iterator[None]:
    """While it may have little more address space than it has now."""
    pages = int((Path("/proc") / str(process) / "statm").read_text().split()[0])
    before = resource.prlimit(process, resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + SPARE_BYTES
    resource.prlimit(process, resource.RLIMIT_AS, (most, before[1]))
    yield
    resource.prlimit(process, resource.RLIMIT_AS, before)


async def large(caller: Checked) -> str:
    return await caller.call(np.arange(EXAMPLES) % 64)


@pytest.mark.long
async def test_requests_that_find_no_memory_fail_alone(
    tmp_path: Path, models: Path, front: str, record_property: Figures
) -> None:
    with serving(tmp_path, models, f"--front={front}", "--max-queue-size=100000") as gateway:
        async with checked(gateway.grpc) as caller:
            assert await large(caller) == "OK"
            with confined(gateway.process.pid):
                await asyncio.gather(*(large(caller) for _ in range(LARGE_AT_ONCE)))
            record_property("outcomes", dict(caller.outcomes))
            assert not caller.wrong
            assert caller.outcomes.keys() <= WANT_OF_MEMORY
            assert await served_or_ended(gateway, caller)


async def served_or_ended(gateway: Served, caller: Checked) -> bool:
    """Whether it serves on, or has ended by itself; nothing hangs."""
    if await caller.call() == "OK":
        return True
    async with asyncio.timeout(CALL_SECONDS):
        return await asyncio.to_thread(gateway.process.wait) in ENDED_BY_ITSELF
