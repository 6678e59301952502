"""More than a real gateway can do: what waits, what is refused, what is computed, and that it lives through it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from seqserve.client import AsyncClient
from support.checked import CALL_SECONDS, Checked, Figures, checked
from support.exposition import total
from support.oip import details_of, infer_request, inference_stub, rows_of
from support.paced import PACED, long_one
from support.served import Served, serving
from support.truth import IMAGES

QUEUE = 32
BEYOND = 100
SHARE = 10
TRIES = 5
BATCH = {PACED: {"max_batch_size": 2}}
OPTIONS = (
    "--compute-slots=1",
    f"--max-queue-size={QUEUE}",
    f"--max-request-examples={QUEUE}",
    "--health-port=0",
)
DOCUMENTED = {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
BEYOND_GRPC_ITSELF = DOCUMENTED | {"CANCELLED", "UNAVAILABLE"}
"""Where more than 1,000 calls wait for Python, gRPC's core refuses their streams; which of both that is, the client says."""
DEADLINE_SECONDS = 2.0
PEAK_SECONDS = 1.0
TICK_SECONDS = 0.02


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, models: Path, front: str, engine: str
) -> Iterator[Served]:
    """One compute slot, batches of two, and a short queue."""
    folder = tmp_path_factory.mktemp("overload")
    settings = {"SEQSERVE_MODELS": json.dumps(BATCH)}
    chosen = (f"--front={front}", f"--engine={engine}")
    with serving(folder, models, *chosen, *OPTIONS, **settings) as running:
        yield running


@contextlib.asynccontextmanager
async def busy(gateway: Served, caller: Checked) -> AsyncIterator[asyncio.Task[None]]:
    """While the engine computes one long batch, which ends by itself and is answered right."""
    before = await total(gateway.http, "seqserve_batches_total", model=PACED)

    async def compute() -> None:
        request = infer_request(long_one(), model=PACED)
        reply = await inference_stub(caller.channel).ModelInfer(request, timeout=CALL_SECONDS)
        assert np.isfinite(rows_of(reply)).all()

    long_batch = asyncio.ensure_future(compute())
    while await total(gateway.http, "seqserve_batches_total", model=PACED) == before:
        assert not long_batch.done(), "it was not taken"
        await asyncio.sleep(TICK_SECONDS)
    yield long_batch
    await long_batch


async def has_queued(gateway: Served, examples: int, long_batch: asyncio.Task[None]) -> bool:
    """Whether so many wait before the long batch is over."""
    while not long_batch.done():
        if await total(gateway.http, "seqserve_queued_examples", model=PACED) == examples:
            return not long_batch.done()
        await asyncio.sleep(TICK_SECONDS)
    return False


async def computed(gateway: Served) -> float:
    return await total(gateway.http, "seqserve_batch_examples_sum", model=PACED)


async def burst(gateway: Served) -> bool:
    """More calls than the queue takes, behind a long batch; whether it was still computing when they were refused."""
    async with checked(gateway.grpc) as caller, busy(gateway, caller) as long_batch:
        waiting = [asyncio.ensure_future(caller.call([at % 64], model=PACED)) for at in range(QUEUE + BEYOND)]
        while len(caller.errors) < BEYOND and not long_batch.done():
            await asyncio.sleep(0.01)
        is_shown = not long_batch.done()
        await asyncio.gather(*waiting)
    assert not caller.wrong
    if is_shown:
        assert caller.outcomes == {"OK": QUEUE, "RESOURCE_EXHAUSTED": BEYOND}
        assert all(details_of(error)["RetryInfo"].retry_delay.ToMilliseconds() > 0 for error in caller.errors)
    return is_shown


async def test_a_queue_of_n_serves_n_and_refuses_the_rest_at_once(gateway: Served) -> None:
    assert await one_of(burst, gateway), "they were refused after the long batch, never while it was computed"


async def one_of(shown: Callable[[Served], Awaitable[bool]], gateway: Served) -> bool:
    """Whether one of some tries shows it: a busy machine may be slower with the callers than with the long batch."""
    for _ in range(TRIES):
        if await shown(gateway):
            return True
    return False


async def desertion(gateway: Served) -> bool:
    """Who leaves or is late behind a long batch is not computed; whether it was still computing when they had gone."""
    before = await computed(gateway)
    async with checked(gateway.grpc) as caller, busy(gateway, caller) as long_batch:
        patient, leaving, late = (
            [
                asyncio.ensure_future(caller.call([at], model=PACED, timeout_seconds=limit))
                for at in range(SHARE)
            ]
            for limit in (CALL_SECONDS, CALL_SECONDS, 0.3)
        )
        await asyncio.wait(late)
        for call in leaving:
            call.cancel()
        await asyncio.wait(leaving)
        is_shown = await has_queued(gateway, SHARE, long_batch)
        assert await asyncio.gather(*patient) == ["OK"] * SHARE
    assert not caller.wrong
    if is_shown:
        assert {call.result() for call in late} <= {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
        assert all(call.cancelled() for call in leaving)
        assert await computed(gateway) - before == 1 + SHARE
    return is_shown


async def test_who_is_cancelled_or_too_late_before_his_batch_is_sealed_never_reaches_the_model(
    gateway: Served,
) -> None:
    assert await one_of(desertion, gateway), "the model was free meanwhile, so that nothing is shown"


async def peak(caller: Checked) -> float:
    """Answers a second of callers who wait for each other's."""
    began, ended = time.monotonic(), asyncio.Event()
    callers = [asyncio.ensure_future(caller.call_until(ended, model=PACED)) for _ in range(8)]
    await asyncio.sleep(PEAK_SECONDS)
    ended.set()
    await asyncio.gather(*callers)
    return caller.outcomes["OK"] / (time.monotonic() - began)


async def flood(caller: Checked, rate: float, seconds: float) -> None:
    """So many calls a second whether they are answered or not; return when all have ended."""
    began, sent = time.monotonic(), 0
    async with asyncio.TaskGroup() as calls:
        while (passed := time.monotonic() - began) < seconds:
            while sent < passed * rate:
                calls.create_task(
                    caller.call([sent % len(IMAGES)], model=PACED, timeout_seconds=DEADLINE_SECONDS)
                )
                sent += 1
            await asyncio.sleep(0.005)


async def probe(address: str, ended: asyncio.Event) -> float:
    """Ask for health again and again; returns the seconds of the slowest answer."""
    slowest = 0.0
    async with AsyncClient(address, timeout_seconds=CALL_SECONDS) as client:
        while not ended.is_set():
            began = time.monotonic()
            assert await client.health("liveness")
            assert await client.health("")
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0.1)
    return slowest


@pytest.mark.parametrize(
    ("times", "seconds"), [(5, 2), *(pytest.param(n, 10, marks=pytest.mark.long) for n in (2, 5, 10))]
)
async def test_an_open_loop_beyond_the_peak_is_refused_as_documented_and_all_that_is_answered_is_right(
    gateway: Served, front: str, times: int, seconds: float, record_property: Figures
) -> None:
    async with checked(gateway.grpc) as caller:
        at_peak = await peak(caller)
    ended = asyncio.Event()
    async with checked(gateway.grpc) as caller:
        probing = asyncio.ensure_future(probe(gateway.health, ended))
        began = time.monotonic()
        await flood(caller, times * at_peak, seconds)
        took = time.monotonic() - began
        ended.set()
        slowest = await probing
        outcomes = dict(caller.outcomes)
        assert await caller.call(model=PACED) == "OK"
    record_property("peak_a_second", round(at_peak))
    record_property("outcomes", outcomes)
    record_property("answered_a_second", round(outcomes["OK"] / took))
    record_property("slowest_probe_seconds", slowest)
    assert not caller.wrong
    assert outcomes.keys() <= (BEYOND_GRPC_ITSELF if front == "python" else DOCUMENTED)
    refused_by_grpc = [error.details() for error in caller.errors if error.code().name == "UNAVAILABLE"]
    assert all("RST_STREAM with error code 7" in (words or "") for words in refused_by_grpc)
    assert "OK" in outcomes
    assert any(error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED for error in caller.errors)
