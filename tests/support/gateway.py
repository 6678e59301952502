"""A live gateway on free ports, over a fake engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from seqserve.door import GAP_SECONDS
from seqserve.engines.base import Engine
from seqserve.gateway import Gateway
from seqserve.settings import Settings

UVICORN_HURRY = 20

front = "python"
"""What answers gRPC where a test does not say; the fixture `front` sets it."""


class Hasty:
    """asyncio as uvicorn sees it here: its server looks every 0.1 s whether it should end, and then 0.1 s longer."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / UVICORN_HURRY)


def settings_for_tests(**changes: Any) -> Settings:
    """Free ports, no pause at the drain."""
    quick: dict[str, Any] = {
        "front": front, "grpc_port": 0, "http_port": 0, "drain_pause_seconds": 0.0, "drain_grace_seconds": 5.0,
    }  # fmt: skip
    return Settings(**(quick | changes))


@asynccontextmanager
async def running_gateway(
    archives: Sequence[Path], engine: Engine, *, tracing: Any = None, **changes: Any
) -> AsyncIterator[Gateway]:
    """A gateway that has loaded the archives; drained at the end, when nobody comes any more."""
    gateway = Gateway(settings_for_tests(**changes), tracing=tracing)
    with mock.patch("uvicorn.server.asyncio", Hasty()):
        try:
            await gateway.start()
            await gateway.load(lambda: archives, engine)
            yield gateway
        finally:
            with mock.patch("seqserve.door.QUIET_SECONDS", GAP_SECONDS):
                await gateway.drain()
