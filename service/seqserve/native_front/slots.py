"""The compute slots of the native front: threads of Python's in which native queues run their batches."""

from __future__ import annotations

import asyncio
import threading

import structlog

from seqserve.native_front import _native

log = structlog.get_logger()


class ComputeSlots:
    """So many threads, shared by all models, first due, first served."""

    def __init__(self, runners: _native.Runners, count: int) -> None:
        """runners: of the queues. count: batches that may run at once."""
        self._runners = runners
        # Daemons: one that hangs in a batch must not keep the program from ending.
        self._threads = [
            threading.Thread(target=runners.work, name=f"compute-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """Run batches from now on."""
        for thread in self._threads:
            thread.start()

    async def aclose(self, seconds: float) -> bool:
        """Take no more batches and wait so long for those that run; whether all have ended."""
        self._runners.stop()
        deadline = asyncio.get_running_loop().time() + seconds
        while any(thread.is_alive() for thread in self._threads):
            if asyncio.get_running_loop().time() >= deadline:
                log.error("a batch does not end; its compute slot is left to it")
                return False
            await asyncio.sleep(0.001)
        return True
