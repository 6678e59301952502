"""Random histories of the micro-batcher: whatever happens in whatever order, each caller is answered once.

A history is a string of bytes: four that set the stage, then two for each step, what happens and its
argument. Bytes are what hypothesis draws and shrinks fastest, and 10,000 histories are to fit a suite.
Afterwards everybody is answered, the batcher is closed, and every promise is checked.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.batching import settle
from support.histories import TURNS, World

HISTORIES = 10_000
STAGE = 4

Step = tuple[str, tuple[object, ...]]
"""The name of a method of World, and its arguments."""

SIZES = ((1,), (2,), (1, 1), (4,), (3,), (2, 3), (1, 4, 2), (1, 2, 3, 4), (4, 4))
SECONDS = (0.001, 0.002, 0.005, 0.02, 0.2, 1.0)
WITHIN = (math.inf, math.inf, 1.0, 0.2, 0.02, 0.005, 0.001)
DELAYS = (0.0, 0.0, 0.02)
LONGEST = (math.inf, 0.1, 0.5)
ENDINGS = ("close", "close", "cancel closing", "abort", "cancel worker")
ENDS = ("answer", "answer", "answer", "fail", "give up", "too few", "too many")
KINDS = (
    *("submit",) * 4, *("tick",) * 3, *("settle",) * 3, *("finish",) * 4, *("advance",) * 3, "cancel", "cancel",
    "share_slot", "come_and_go",
)  # fmt: skip


def steps(code: bytes) -> Iterator[Step]:
    """The history that the bytes tell; it may stop the batcher, early or late, once or twice."""
    first, endings, places = code[1:STAGE]
    yield step("submit", first)
    told = list(zip(code[STAGE::2], code[STAGE + 1 :: 2], strict=False))
    stops = {len(told) - places % 7 - index * places % 5: endings >> 4 * index & 15 for index in range(2)}
    for index, (kind, argument) in enumerate(told):
        yield step(KINDS[kind % len(KINDS)], argument)
        if 0 < stops.get(index, 0) <= len(ENDINGS):
            yield "stop", (ENDINGS[stops[index] - 1],)


def step(kind: str, argument: int) -> Step:
    """One thing that happens."""
    if kind == "submit":
        return kind, (SIZES[argument % len(SIZES)], WITHIN[argument // len(SIZES) % len(WITHIN)])
    if kind == "tick":
        return kind, (1 + argument % 6,)
    if kind == "finish":
        return kind, (ENDS[argument % len(ENDS)],)
    if kind == "cancel":
        return kind, (argument,)
    return kind, ((SECONDS[argument % len(SECONDS)],) if kind == "advance" else ())


async def live_through(code: bytes) -> None:
    """Raises AssertionError where a promise is broken; the history is noted on it."""
    world = World(delay=DELAYS[code[0] % 3], longest=LONGEST[code[0] // 3 % 3])
    history = list(steps(code))
    try:
        for name, arguments in history:
            turns = getattr(world, name)(*arguments)
            if turns:
                await settle(turns)
            if turns == TURNS:
                world.check_pause()
        await world.end()
        world.check()
    except AssertionError as error:
        error.add_note(f"delay {world.delay}, longest {world.longest}, history {history}")
        await world.abandon()
        raise


histories = st.one_of(
    [st.binary(min_size=STAGE + shortest, max_size=STAGE + 100) for shortest in (0, 30, 50, 70)]
)


def test_every_promise_holds_in_ten_thousand_histories() -> None:
    with asyncio.Runner() as runner:

        @settings(
            max_examples=HISTORIES,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(histories)
        def every_promise_holds(code: bytes) -> None:
            runner.run(live_through(code))

        every_promise_holds()
