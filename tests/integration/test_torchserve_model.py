"""Batches to a played TorchServe: what travels, what comes back, and several workers."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from seqserve.engines.base import FloatArray
from seqserve.errors import EngineContractError, EngineUnavailable, Overloaded
from support.engines import expected_answers
from support.torchserve import BATCH, OUTPUTS, ROWS, TINY, archive
from support.torchserve_world import World, running_world

DEAD = (grpc.StatusCode.RESOURCE_EXHAUSTED, "Worker died.\nInternalServerException")
FULL = (grpc.StatusCode.INTERNAL, 'Model "tiny" has no worker to serve inference …')
BROKEN = (grpc.StatusCode.UNAVAILABLE, "Prediction failed\nInternalServerException")
MANY = np.random.default_rng(7).random((7, *TINY.input.example_shape), np.float32)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path) as running:
        yield running


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[World]:
    """With three workers for each version."""
    async with running_world(tmp_path, workers=3) as running:
        yield running


# ---- one request ----


async def test_a_batch_is_one_request_of_raw_bytes(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path, "7"))

    rows = await model.infer(BATCH)

    [request] = world.inference.requests
    assert (request.model_name, request.model_version) == ("tiny", "7")
    assert dict(request.input) == {
        "data": BATCH.tobytes(),
        "shape": struct.pack(f"<{BATCH.ndim}q", *BATCH.shape),
        "datatype": b"FP32",
    }
    assert rows.dtype == np.float32
    assert np.array_equal(rows, ROWS)


async def test_a_batch_that_is_not_contiguous_travels_row_by_row(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))

    await model.infer(np.repeat(BATCH, 2, axis=0)[::2])

    assert world.inference.requests[0].input["data"] == BATCH.tobytes()


async def test_a_dead_worker_is_worth_a_retry_and_is_told(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    world.inference.fault = DEAD

    with pytest.raises(EngineUnavailable, match="could not run") as caught:
        await model.infer(BATCH)

    assert caught.value.retry_after_seconds > 0
    assert world.presence.away == {("tiny", "1")}
    world.inference.fault = None
    assert np.array_equal(await model.infer(BATCH), ROWS)


async def test_a_full_queue_and_a_broken_handler_are_no_outage(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    world.inference.fault = FULL
    with pytest.raises(Overloaded):
        await model.infer(BATCH)
    world.inference.fault = BROKEN
    with pytest.raises(EngineContractError, match="Prediction failed"):
        await model.infer(BATCH)

    assert not world.presence.away


async def test_the_callers_cancel_reaches_torchserve_and_is_no_outage(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    world.inference.gate.clear()
    call = asyncio.create_task(model.infer(BATCH))
    await world.inference.arrivals.acquire()

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    await world.inference.cancelled.acquire()
    assert not world.presence.away


# ---- several workers ----


async def test_a_batch_is_split_over_the_workers_and_put_together_in_order(
    three: World, tmp_path: Path
) -> None:
    model = await three.engine.load(archive(tmp_path))

    rows = await model.infer(MANY)

    assert np.array_equal(rows, expected_answers(MANY, OUTPUTS))
    sizes = [struct.unpack_from("<q", request.input["shape"])[0] for request in three.inference.requests]
    assert sorted(sizes) == [2, 2, 3]


async def test_the_parts_run_beside_each_other(three: World, tmp_path: Path) -> None:
    model = await three.engine.load(archive(tmp_path))
    three.inference.gate.clear()
    call = asyncio.create_task(model.infer(MANY))

    for _ in range(3):  # all of them are there before the first is answered
        await three.inference.arrivals.acquire()
    three.inference.gate.set()

    assert np.array_equal(await call, expected_answers(MANY, OUTPUTS))


@pytest.mark.parametrize("count", [1, 2])
async def test_there_are_no_empty_parts(three: World, tmp_path: Path, count: int) -> None:
    model = await three.engine.load(archive(tmp_path))

    assert np.array_equal(await model.infer(MANY[:count]), expected_answers(MANY[:count], OUTPUTS))

    assert len(three.inference.requests) == count


async def test_a_part_that_fails_fails_the_batch_once_all_parts_have_ended(
    three: World, tmp_path: Path
) -> None:
    model = await three.engine.load(archive(tmp_path))
    three.inference.fault, three.inference.is_faulty = DEAD, is_the_first
    three.inference.is_slow = lambda part: not is_the_first(part)
    three.inference.gate.clear()

    call = asyncio.create_task(model.infer(MANY))
    for _ in range(3):
        await three.inference.arrivals.acquire()
    await asyncio.wait({call}, timeout=0.05)
    assert not call.done(), "parts of it are still being computed"
    three.inference.gate.set()

    with pytest.raises(EngineUnavailable):
        await call
    assert three.inference.answered == 2
    assert three.presence.away == {("tiny", "1")}


async def test_that_it_is_away_is_told_before_what_else_went_wrong(three: World, tmp_path: Path) -> None:
    model = await three.engine.load(archive(tmp_path))
    three.inference.fault, three.inference.is_faulty = FULL, is_the_first
    three.inference.other_fault = DEAD

    with pytest.raises(EngineUnavailable):
        await model.infer(MANY)

    assert three.presence.away == {("tiny", "1")}


async def test_a_cancel_cancels_all_parts(three: World, tmp_path: Path) -> None:
    model = await three.engine.load(archive(tmp_path))
    three.inference.gate.clear()
    call = asyncio.create_task(model.infer(MANY))
    for _ in range(3):
        await three.inference.arrivals.acquire()

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    for _ in range(3):
        await three.inference.cancelled.acquire()


def is_the_first(part: FloatArray) -> bool:
    return np.array_equal(part[0], MANY[0])
