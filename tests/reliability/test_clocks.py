"""The wall clock of a gateway jumps: time is measured by another clock, so nobody notices.

`faketime` gives the process another wall clock and leaves the monotonic one alone, as a machine whose clock is set does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seqserve.client import AsyncClient
from support.checked import Checked, ask_over_http, checked, web_of
from support.reloads import bring
from support.running import until
from support.served import Served, serving

LIBRARIES = "usr/lib/*/faketime/libfaketimeMT.so.1"
JUMPS = {"+1h": 1 / 24, "-1d": -1.0, "+30d": 30.0, "-3650d": -3650.0, "+0": 0.0}
"""As faketime writes them, and in days."""
CALLERS = 8
CALLS_BETWEEN = 100
DEADLINE_SECONDS = 60.0


@pytest.fixture(scope="module")
def library() -> Path:
    """Debian's package `faketime` has it."""
    found = next(Path("/").glob(LIBRARIES), None)
    if found is None:
        pytest.skip("needs libfaketime (Debian's package faketime)")
    return found


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """The file that says how far the gateway's wall clock is from this one's."""
    path = tmp_path / "clock"
    path.write_text("+0")
    return path


@pytest.fixture
def faked(library: Path, clock: Path) -> dict[str, str]:
    """What a process is started with whose wall clock can jump."""
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


@pytest.fixture(params=["embedded", "torchserve"])
def gateway(
    request: pytest.FixtureRequest, tmp_path: Path, store: Path, front: str, faked: dict[str, str]
) -> Iterator[Served]:
    """Follows its store by looking, under a clock that can jump; a TorchServe of its own keeps the machine's."""
    options = (
        f"--front={front}",
        f"--engine={request.param}",
        "--watch=poll",
        "--watch-interval-seconds=0.2",
    )
    with serving(tmp_path, store, *options, **faked) as up:
        yield up


def days_ahead(gateway: Served) -> float:
    """By how much the gateway's wall clock was ahead of this one when a version became ready a moment ago."""
    written = datetime.fromisoformat(gateway.events()["model ready"]["timestamp"])
    return (written - datetime.now(UTC)).total_seconds() / 86400


async def until_ready(gateway: Served) -> None:
    """Return when it says so."""
    async with AsyncClient(gateway.grpc) as client:
        while not await client.health():
            await asyncio.sleep(0.1)


async def more_answers(caller: Checked, count: int) -> None:
    """Return after so many of them."""
    wanted = caller.outcomes["OK"] + count
    while caller.outcomes["OK"] < wanted:
        assert caller.outcomes.keys() <= {"OK"}, caller.errors[:3]
        await asyncio.sleep(0.01)


@pytest.mark.long
async def test_a_wall_clock_that_jumps_fails_nobody_and_the_store_is_followed_on(
    gateway: Served, store: Path, clock: Path
) -> None:
    await until_ready(gateway)
    ended = asyncio.Event()
    async with checked(gateway.grpc) as caller, web_of(gateway.http) as web, asyncio.TaskGroup() as tasks:
        for _ in range(CALLERS):
            tasks.create_task(caller.call_until(ended, timeout_seconds=DEADLINE_SECONDS))
        for number, (jump, days) in enumerate(JUMPS.items(), start=2):
            await more_answers(caller, CALLS_BETWEEN)
            await asyncio.to_thread(clock.write_text, jump)
            await asyncio.to_thread(bring, store, str(number), is_broken=False)
            while str(number) not in caller.versions:
                await more_answers(caller, 1)
            await until(lambda: gateway.events()["model ready"]["version"] == str(number))  # noqa: B023 - now
            assert days_ahead(gateway) == pytest.approx(days, abs=0.02), "the gateway has not seen the jump"
            assert await ask_over_http(web) == 200
        ended.set()
    assert caller.outcomes.keys() == {"OK"}, caller.errors[:3]
    assert not caller.wrong
    await until_ready(gateway)
