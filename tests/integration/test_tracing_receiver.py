"""A receiver of traces that is away, hangs or refuses: no call fails or waits, and the drain goes on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from structlog.testing import capture_logs

from seqserve import otlp
from seqserve.otlp import OtlpTracing
from support.archives import make_archive
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.oip import infer_request, inference_stub
from support.otlp import receiving

IMAGE = np.full((1, 2, 3), 0.25, np.float32)
CALLS = 40
LIMIT_SECONDS = 120.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans are sent soon, and a receiver that does not answer is left soon."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setattr(otlp, "SHUTDOWN_SECONDS", 0.2)


@pytest.fixture
def nobody() -> str:
    """An endpoint where nothing listens."""
    with contextlib.closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


async def ask(tmp_path: Path, engine: FakeEngine, endpoint: str, calls: int = CALLS) -> None:
    """Calls that are all answered, by a gateway that is drained after them."""
    tracing = OtlpTracing(endpoint)
    async with (
        asyncio.timeout(LIMIT_SECONDS),
        running_gateway([make_archive(tmp_path)], engine, tracing=tracing) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
    ):
        for _ in range(calls):
            await inference_stub(channel).ModelInfer(infer_request(IMAGE))


@contextlib.contextmanager
def told() -> Iterator[list[Any]]:
    """What the log has of traces in the block, which begins as a process does: nothing was told yet."""
    logging.getLogger("opentelemetry").handlers.clear()
    with capture_logs() as lines:
        yield lines
    lines[:] = [line for line in lines if "trace" in line["event"]]


async def test_nobody_waits_for_a_receiver_that_is_away(
    tmp_path: Path, engine: FakeEngine, nobody: str
) -> None:
    with told() as lines:
        await ask(tmp_path, engine, nobody)

    assert lines[0]["event"] == "traces are not delivered"
    assert "UNAVAILABLE" in lines[0]["reason"]
    assert len(lines) <= 2  # and the last ones are lost


async def test_nobody_waits_for_a_receiver_that_hangs_and_neither_does_the_drain(
    tmp_path: Path, engine: FakeEngine
) -> None:
    async with receiving() as (receiver, endpoint):
        receiver.gate.clear()
        with told() as lines:
            await ask(tmp_path, engine, endpoint)

        assert receiver.arrived.is_set()
        assert receiver.exports == []  # it hangs still
    assert "the last traces are lost: their receiver does not answer" in [line["event"] for line in lines]


@pytest.mark.parametrize("code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED])
async def test_a_receiver_that_refuses_is_told_of_in_one_line(
    tmp_path: Path, engine: FakeEngine, code: grpc.StatusCode
) -> None:
    async with receiving() as (receiver, endpoint):
        receiver.fault = code
        with told() as lines:
            await ask(tmp_path, engine, endpoint)

    assert receiver.refused
    assert lines[0]["event"] == "traces are not delivered"
    assert code.name in lines[0]["reason"]
    assert len([line for line in lines if line["event"] == "traces are not delivered"]) == 1


async def test_spans_that_wait_for_a_receiver_are_bounded(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    monkeypatch.setattr(otlp, "SHUTDOWN_SECONDS", 60.0)
    async with receiving() as (receiver, endpoint):
        receiver.gate.clear()
        tracing = OtlpTracing(endpoint)
        async with running_gateway([make_archive(tmp_path)], engine, tracing=tracing) as gateway:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
                for _ in range(CALLS):
                    await inference_stub(channel).ModelInfer(infer_request(IMAGE))
            receiver.gate.set()
        sent = len(list(receiver.spans()))

    assert 16 <= sent <= 16 + 4 * 2  # those in the queue, and in the exports that were under way
