"""One live gateway for each test that asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog

from seqserve.gateway import Gateway
from seqserve.native_front import library
from support.archives import make_archive
from support.asking import TWINS
from support.engines import FakeEngine
from support.fronts import BOTH_FRONTS
from support.gateway import running_gateway


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Where a gateway's gRPC is asked, on each front that there is; test_fronts_agree says if it is one."""
    if metafunc.module.__name__.rpartition(".")[2] in BOTH_FRONTS:
        fronts = ["python"] if library.why_not() else ["python", "native"]
        metafunc.parametrize("front", fronts, indirect=True)


@pytest.fixture(autouse=True)
def front(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What answers the gRPC of this test's gateways."""
    name: str = getattr(request, "param", "python")
    monkeypatch.setattr("support.gateway.front", name)
    return name


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
