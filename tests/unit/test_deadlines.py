"""One timer for all deadlines: who is late is told, and who is cancelled by somebody else is not."""

from __future__ import annotations

import asyncio
from unittest import mock

import pytest

from seqserve.batching.deadlines import Deadlines
from support.batching import settle

FAR = 3600.0


def now() -> float:
    return asyncio.get_running_loop().time()


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def wait(deadlines: Deadlines, deadline: float) -> str:
    with deadlines.at(deadline):
        await never()
    return "over"


async def test_what_takes_too_long_is_ended_and_what_has_time_is_not() -> None:
    deadlines = Deadlines()
    patient = asyncio.create_task(wait(deadlines, now() + FAR))
    late = [asyncio.create_task(wait(deadlines, now() + seconds)) for seconds in (0.002, 0.001, 0.0, -1.0)]

    ends = await asyncio.gather(*late, return_exceptions=True)

    assert [type(end) for end in ends] == [TimeoutError] * 4
    assert not patient.done()
    patient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await patient


async def test_a_block_that_ends_in_time_is_never_heard_of_again() -> None:
    deadlines, passed = Deadlines(), asyncio.get_running_loop().create_future()
    with deadlines.at(now() + 0.001):
        asyncio.get_running_loop().call_later(0.002, passed.set_result, None)

    await passed


async def test_an_error_of_the_block_stays_what_it_is() -> None:
    with pytest.raises(ArithmeticError), Deadlines().at(now() + FAR):
        raise ArithmeticError


async def test_somebody_elses_cancellation_goes_through() -> None:
    leaver = asyncio.create_task(wait(Deadlines(), now() + FAR))
    await settle()
    leaver.cancel()

    with pytest.raises(asyncio.CancelledError):
        await leaver


async def test_somebody_elses_cancellation_comes_before_a_deadline_that_passes_at_the_same_time() -> None:
    limit = Deadlines().at(now() + FAR)

    async def wait_within() -> None:
        with limit:
            await never()

    late = asyncio.create_task(wait_within())
    await settle()
    limit.end()
    late.cancel()

    with pytest.raises(asyncio.CancelledError):
        await late


async def test_deadlines_in_the_order_in_which_they_pass_share_one_timer() -> None:
    deadlines, loop = Deadlines(), asyncio.get_running_loop()
    with mock.patch.object(loop, "call_at", wraps=loop.call_at) as timers:
        for step in range(100):
            with deadlines.at(now() + FAR + step):
                pass

    assert timers.call_count == 1


async def test_the_next_deadline_is_watched_after_the_first_has_passed() -> None:
    deadlines = Deadlines()
    first, second = (asyncio.create_task(wait(deadlines, now() + seconds)) for seconds in (0.001, 0.004))

    with pytest.raises(TimeoutError):
        await first
    with pytest.raises(TimeoutError):
        await second
