"""One live gateway for each test that asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog

from seqserve.gateway import Gateway
from support.archives import make_archive
from support.asking import TWINS
from support.engines import FakeEngine
from support.gateway import running_gateway


@pytest.fixture(autouse=True)
def plain_tracebacks() -> Iterator[None]:
    """In the log: by default structlog writes out the variables too, which takes seconds for arrays."""
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, renderer])
    yield
    structlog.reset_defaults()


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def gateway(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[Gateway]:
    """Serves `tiny` version 1: images of 2x3, see tests/contract/signatures.json."""
    async with running_gateway([make_archive(tmp_path)], engine) as running:
        yield running


@pytest.fixture(params=TWINS.values(), ids=list(TWINS))
def twin(request: pytest.FixtureRequest) -> Any:
    """Our client's class, sync or aio; see support.asking."""
    return request.param


@pytest.fixture
async def channel(gateway: Gateway) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as open_channel:
        yield open_channel
