"""What callers and observers of a version's queue may rely on, whether it is Python's or C++'s."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from seqserve.errors import DeadlineExceeded, EngineUnavailable, Overloaded, SeqserveError, ShuttingDown
from support.row_batchers import Make, RowBench, answers, native_benches, python_benches


@pytest.fixture(params=["python", "native"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    if request.param == "native":
        pytest.importorskip("seqserve.native_front._native", reason="the native front is not built here")
    async with native_benches() if request.param == "native" else python_benches() as make:
        yield make


async def refused(caller: asyncio.Task[object]) -> SeqserveError:
    with pytest.raises(SeqserveError) as caught:
        await caller
    return caught.value


async def waiting(bench: RowBench, examples: int) -> None:
    """Until so many examples wait."""
    while bench.batcher.queued_examples != examples:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0)


async def test_who_comes_while_the_engine_is_busy_shares_the_next_batch(make: Make) -> None:
    bench = await make(max_batch_size=4)
    first = await bench.busy()
    others = [bench.ask(1.0), bench.ask(2.0, rows=2)]
    await waiting(bench, 3)
    bench.model.go.set()
    await asyncio.gather(first, *others)
    assert bench.model.batches == [[100.0], [1.0, 2.0, 2.0]]
    assert answers(others[1]) == [2.0, 2.0]
    assert others[0].result()[0].batch_examples == 3
    assert others[0].result()[0].queue_seconds > 0


async def test_a_request_larger_than_a_batch_is_rejoined_in_order(make: Make) -> None:
    bench = await make(max_batch_size=2)
    bench.model.go.set()
    caller = bench.ask(1.0, 2.0, 3.0, rows=2)
    await caller
    assert answers(caller) == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
    assert sum(outcome.compute_seconds for outcome in caller.result()) > 0


async def test_who_leaves_never_reaches_the_model_and_strands_nobody(make: Make) -> None:
    bench = await make(max_batch_size=4)
    await bench.busy()
    leaver, stayer = bench.ask(1.0), bench.ask(2.0)
    await waiting(bench, 2)
    leaver.cancel()
    await waiting(bench, 1)
    bench.model.go.set()
    await stayer
    assert bench.model.batches == [[100.0], [2.0]]
    assert leaver.cancelled()


async def test_a_failure_is_everybodys_of_that_batch_and_the_version_serves_on(make: Make) -> None:
    bench = await make(max_batch_size=4)
    first = await bench.busy()
    bench.model.fault = EngineUnavailable("gone for lunch", retry_after_seconds=7.0)
    bench.model.go.set()
    assert await refused(first) is bench.model.fault
    assert bench.notes.failed == [(1, bench.model.fault)]
    bench.model.fault = None
    again = bench.ask(3.0)
    await again
    assert answers(again) == [3.0]


async def test_a_batch_that_the_engine_cancels_has_failed(make: Make) -> None:
    bench = await make(max_batch_size=4)
    first = await bench.busy()
    bench.model.fault = asyncio.CancelledError()  # type: ignore[assignment]  # as a cancelled call raises
    bench.model.go.set()
    assert str(await refused(first)) == "the engine gave the batch up"


async def test_a_wrong_number_of_answers_fails_the_batch(make: Make) -> None:
    bench = await make(max_batch_size=4)
    bench.model.answers = lambda batch: batch[:0]
    first = await bench.busy()
    bench.model.go.set()
    assert str(await refused(first)) == "0 answers to 1 examples"


async def test_a_full_queue_refuses_whole_requests_and_says_when_to_come_again(make: Make) -> None:
    bench = await make(max_batch_size=4, max_queue_size=3)
    await bench.busy()
    bench.ask(1.0, rows=2)
    await waiting(bench, 2)
    error = await refused(bench.ask(2.0, rows=2))
    assert isinstance(error, Overloaded)
    assert str(error) == "2 examples wait, 2 more would pass the limit of 3"
    assert error.retry_after_seconds == 1.0
    with pytest.raises(Overloaded, match="2 examples wait, 5 more"):
        bench.batcher.check(5, deadline=float("inf"))
    bench.batcher.check(1, deadline=float("inf"))


async def test_the_past_is_refused_and_who_waits_too_long_is_answered(make: Make) -> None:
    bench = await make(max_batch_size=4)
    await bench.busy()
    error = await refused(bench.ask(1.0, within=-1.0))
    assert isinstance(error, DeadlineExceeded)
    assert str(error) == "the deadline had passed before the request could wait for a batch"
    error = await refused(bench.ask(1.0, within=0.01))
    assert isinstance(error, DeadlineExceeded)
    assert str(error) == "the deadline passed while the request waited for a batch"


async def test_a_batch_that_hangs_answers_everybody_until_it_ends(make: Make) -> None:
    bench = await make(max_batch_size=4, max_batch_seconds=0.02)
    first = await bench.busy()
    behind = bench.ask(1.0)
    assert str(await refused(first)) == "the engine computed the batch for more than 0.02 s"
    error = await refused(behind)
    assert isinstance(error, EngineUnavailable)
    assert str(error) == "the engine has been computing one batch for too long"
    assert str(await refused(bench.ask(2.0))) == str(error)
    await bench.notes.heard.wait()
    assert bench.notes.overdue == [1]
    bench.notes.heard.clear()
    bench.model.go.set()
    await bench.notes.heard.wait()
    assert bench.notes.recovered[0][0] >= 0.02
    assert bench.notes.recovered[0][1] is None
    again = bench.ask(3.0)
    await again
    assert answers(again) == [3.0]


async def test_an_engine_that_is_away_refuses_until_it_is_back(make: Make) -> None:
    bench = await make(max_batch_size=4)
    first = await bench.busy()
    behind = bench.ask(1.0)
    await waiting(bench, 1)
    bench.batcher.pause()
    words = "what runs this model is away; it is being brought back"
    assert str(await refused(behind)) == words
    assert str(await refused(bench.ask(2.0))) == words
    bench.batcher.resume()
    again = bench.ask(3.0)
    bench.model.go.set()
    await asyncio.gather(first, again)
    assert answers(again) == [3.0]


async def test_closing_finishes_what_is_queued_and_takes_nothing_new(make: Make) -> None:
    bench = await make(max_batch_size=4)
    first = await bench.busy()
    behind = bench.ask(1.0)
    await waiting(bench, 1)
    closing = asyncio.create_task(bench.batcher.aclose())
    await asyncio.sleep(0)
    error = await refused(bench.ask(2.0))
    assert isinstance(error, ShuttingDown)
    assert str(error) == "this model takes no new requests"
    assert not closing.done()
    bench.model.go.set()
    await closing
    await asyncio.gather(first, behind)
    await bench.batcher.aclose()


async def test_aborting_answers_everybody_at_once_with_the_error_that_it_is_given(make: Make) -> None:
    bench = await make(max_batch_size=4)
    callers = [await bench.busy(), bench.ask(1.0)]
    await waiting(bench, 1)
    error = ShuttingDown("the model was unloaded")
    bench.batcher.abort(error)
    for caller in callers:
        assert await refused(caller) is error


async def test_a_close_that_is_cancelled_answers_who_still_waits(make: Make) -> None:
    bench = await make(max_batch_size=4)
    first = await bench.busy()
    closing = asyncio.create_task(bench.batcher.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    assert str(await refused(first)) == "the gateway stopped before this request was answered"
    with pytest.raises(asyncio.CancelledError):
        await closing


async def test_the_limits_can_be_asked_for(make: Make) -> None:
    bench = await make(max_batch_size=4, max_queue_delay_seconds=0.5, max_batch_seconds=9.0)
    batcher = bench.batcher
    assert (batcher.max_batch_size, batcher.max_queue_delay_seconds, batcher.max_batch_seconds) == (
        4,
        0.5,
        9.0,
    )
