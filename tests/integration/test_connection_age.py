"""Connections that are let grow old: no call fails over it, and streams have the time that they are given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from seqserve.client.requests import predict_request
from seqserve.pb.v1 import prediction_pb2 as pb
from support.archives import make_archive
from support.callers import calling
from support.engines import FakeEngine
from support.gateway import running_gateway
from support.oip import prediction_stub

AGE_SECONDS = 0.3
ROW = np.full((2, 3), 0.25, np.float32)


async def test_no_call_fails_when_its_connection_grows_old(tmp_path: Path, engine: FakeEngine) -> None:
    engine.seconds = 0.005
    async with connected(tmp_path, engine) as channel:
        stub = prediction_stub(channel)

        async def ask(row: Any) -> Any:
            reply = await stub.Predict(request(row), timeout=30)
            return np.asarray(reply.predictions[0].values, np.float32)

        async with calling(ask, 16) as callers:
            for _ in range(4):
                await _grown_old(channel)

    assert (callers.wrong, callers.failures) == (0, [])


async def test_a_stream_goes_on_over_a_connection_that_has_grown_old(
    tmp_path: Path, engine: FakeEngine
) -> None:
    async with connected(tmp_path, engine) as channel:
        stream = prediction_stub(channel).PredictStream(timeout=60)
        await stream.write(request(ROW))
        assert (await stream.read()).response.predictions
        await _grown_old(channel)
        await stream.write(request(ROW))
        assert (await stream.read()).response.predictions
        await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK


async def test_a_stream_that_takes_longer_than_the_grace_ends_as_unavailable(
    tmp_path: Path, engine: FakeEngine
) -> None:
    async with connected(tmp_path, engine, max_connection_age_grace_seconds=0.2) as channel:
        stream = prediction_stub(channel).PredictStream(timeout=60)
        await stream.write(request(ROW))
        assert (await stream.read()).response.predictions
        assert await stream.code() is grpc.StatusCode.UNAVAILABLE


async def test_by_itself_a_connection_may_stay(tmp_path: Path, engine: FakeEngine) -> None:
    async with connected(tmp_path, engine, max_connection_age_seconds=0) as channel:
        await prediction_stub(channel).Predict(request(ROW), timeout=30)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3 * AGE_SECONDS):
                await _grown_old(channel)


@asynccontextmanager
async def connected(folder: Path, engine: FakeEngine, **changes: float) -> AsyncIterator[grpc.aio.Channel]:
    """A gateway whose connections grow old soon, and a channel to it."""
    settings = {"max_connection_age_seconds": AGE_SECONDS} | changes
    async with (
        running_gateway([make_archive(folder)], engine, **settings) as gateway,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel,
    ):
        yield channel


def request(row: Any) -> pb.PredictRequest:
    return predict_request(row, model="tiny", version="", top_k=0)


async def _grown_old(channel: grpc.aio.Channel) -> None:
    """Return when the gateway has told the channel to call over another connection."""
    ready = grpc.ChannelConnectivity.READY
    while (state := channel.get_state(try_to_connect=True)) is not ready:
        await channel.wait_for_state_change(state)
    await channel.wait_for_state_change(ready)
