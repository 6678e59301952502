"""A live gateway on free ports, over a fake engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from seqserve.engines.base import Engine
from seqserve.gateway import Gateway
from seqserve.settings import Settings


def settings_for_tests(**changes: Any) -> Settings:
    """Free ports, no pause at the drain."""
    quick = {"grpc_port": 0, "http_port": 0, "drain_pause_seconds": 0.0, "drain_grace_seconds": 5.0}
    return Settings(**(quick | changes))


@asynccontextmanager
async def running_gateway(archives: Sequence[Path], engine: Engine, **changes: Any) -> AsyncIterator[Gateway]:
    """A gateway that has loaded the archives; drained at the end."""
    gateway = Gateway(settings_for_tests(**changes))
    try:
        await gateway.start()
        await gateway.load(lambda: archives, engine)
        yield gateway
    finally:
        await gateway.drain()
