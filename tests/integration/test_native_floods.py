"""Native threads can end far more calls than Python can write down: the event loop lives on all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import numpy as np
import pytest
from structlog.testing import capture_logs

from seqserve.archive import Archive
from seqserve.gateway import Gateway
from support.archives import make_archive
from support.engines import FakeEngine, FakeModel, FloatArray
from support.gateway import running_gateway
from support.oip import infer_request, inference_stub

pytest.importorskip("seqserve.native_front._native", reason="the native front is not built here")

from seqserve.native_front.desk import TURN

MOST_INTERNAL = 64
"""kMostInternal of service/native/python_edge/call_news.h."""
CALLS = 200
ONE = infer_request(np.full((1, 2, 3), 0.5, np.float32))


class Nonsense(FakeModel):
    """Computes without the event loop."""

    ends_by_itself = False

    def compute(self, _: FloatArray, out: FloatArray) -> None:
        out[:] = np.nan

    def staging_memory(self, _: int) -> None:
        return None


class NonsenseEngine(FakeEngine):
    """Its models answer NaN."""

    async def load(self, archive: Archive) -> FakeModel:
        loaded = await super().load(archive)
        return Nonsense(loaded.engine, loaded.archive)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running_gateway([make_archive(tmp_path)], NonsenseEngine(), front="native") as running:
        yield running


def fail_while_the_loop_stands_still(port: int) -> None:
    """To be called on the event loop, which none of these calls needs."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = inference_stub(channel)
        calls = [stub.ModelInfer.future(ONE, timeout=60) for _ in range(CALLS)]
        assert {call.code() for call in calls} == {grpc.StatusCode.INTERNAL}


async def turns_until(lines: int, logged: Sequence[object]) -> list[int]:
    """How many lines there were at each turn of the loop, until there are so many."""
    found = [len(logged)]
    async with asyncio.timeout(20):
        while found[-1] < lines:
            await asyncio.sleep(0)
            found.append(len(logged))
    return found


async def test_of_more_internal_errors_than_the_log_takes_the_rest_is_counted(gateway: Gateway) -> None:
    for _ in range(2):
        with capture_logs() as logged:
            fail_while_the_loop_stands_still(gateway.grpc_port)
            await turns_until(MOST_INTERNAL + 1, logged)
        told = [line for line in logged if line["event"] == "call failed"]
        assert len(told) == MOST_INTERNAL
        [rest] = [line for line in logged if line["event"] == "more calls failed than the log takes"]
        assert rest["calls"] == CALLS - MOST_INTERNAL


async def test_between_two_handfuls_of_news_other_work_of_the_loop_has_its_turn(gateway: Gateway) -> None:
    with capture_logs() as logged:
        fail_while_the_loop_stands_still(gateway.grpc_port)
        lines = await turns_until(MOST_INTERNAL + 1, logged)
    assert max(np.diff(lines)) <= TURN
