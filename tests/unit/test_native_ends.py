"""How C++'s queue of a version begins and ends, and what it says where memory ends before it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from seqserve.batching.admission import BatchLimits
from seqserve.errors import Overloaded
from support.row_batchers import SIGNATURE, Make, native_benches

pytest.importorskip("seqserve.native_front._native", reason="the native front is not built here")

from seqserve.native_front import _native
from seqserve.native_front.queue import NativeBatcher


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    async with native_benches() as make:
        yield make


async def test_of_a_queue_that_cannot_be_made_nothing_is_kept(make: Make) -> None:
    bench = await make(max_batch_size=4)
    kept = dict(bench.native["queues"].observers)
    with pytest.raises(ValueError, match="no request could pass"):
        NativeBatcher(
            bench.native["queues"], SIGNATURE, bench.model, BatchLimits(4), max_request_examples=0,
            ledger=_native.BatchLedger([1], [1]), observer=bench.notes,
        )  # fmt: skip
    assert bench.native["queues"].observers == kept


async def test_of_a_close_that_is_cancelled_nothing_is_kept_once_its_batch_has_ended(make: Make) -> None:
    bench = await make(max_batch_size=4, max_batch_seconds=0.02)
    observers = bench.native["queues"].observers
    caller = await bench.busy()
    await asyncio.wait((caller,))
    assert bench.notes.overdue == [1]
    closing = asyncio.create_task(bench.batcher.aclose())
    await asyncio.sleep(0.01)
    closing.cancel()
    await asyncio.wait((closing,))
    assert closing.cancelled()
    assert len(observers) == 1

    bench.model.go.set()
    async with asyncio.timeout(10):
        while observers:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    assert len(bench.notes.recovered) == 1


async def test_where_memory_ends_before_the_queue_does_the_refusal_says_so(make: Make) -> None:
    def check(*_: Any) -> None:
        raise _native.Refused("full", 57, 2_000_000_000, 1 << 30)

    batcher = cast("Any", (await make(max_batch_size=4)).batcher)
    own, batcher.version = batcher.version, SimpleNamespace(check=check)
    with pytest.raises(Overloaded) as refused:
        batcher.check(2, deadline=float("inf"))
    batcher.version = own
    assert str(refused.value) == (
        "57 examples wait, and the 1073741824 bytes in which this model's batches are gathered have no room for 2 more"
    )
    assert refused.value.retry_after_seconds == 2.0
