"""Which batches the embedded engine computes in its caller's own thread."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from seqserve.engines import embedded
from seqserve.engines.base import FloatArray
from seqserve.engines.embedded import EmbeddedEngine
from seqserve.engines.embedded_quick import PASSES, QUICK_SECONDS, TOO_SLOW_SECONDS, QuickBatches
from seqserve.engines.embedded_threads import ComputeThreads
from support.torchscript import HALF, line_archive, scripted

SLOW, FAST = 2 * QUICK_SECONDS, QUICK_SECONDS / 2


def measured(size: int, *seconds: float) -> QuickBatches:
    quick = QuickBatches()
    for each in seconds:
        quick.measure(size, each)
    return quick


def test_nothing_is_quick_before_it_was_measured_often_enough() -> None:
    quick = QuickBatches()
    for _ in range(PASSES):
        assert not quick.has(1)
        quick.measure(1, FAST)

    assert quick.has(1)


def test_each_size_up_to_the_next_power_of_two_is_measured_for_itself() -> None:
    quick = measured(3, *[FAST] * PASSES)

    assert [size for size in range(1, 10) if quick.has(size)] == [3, 4]


def test_a_busy_machine_does_not_make_a_batch_slow_and_a_slow_one_is_seen_in_a_few() -> None:
    quick = measured(1, *[SLOW] * (PASSES - 1), FAST)
    for _ in range(PASSES - 1):
        assert quick.has(1)
        quick.measure(1, SLOW)
    quick.measure(1, SLOW)

    assert not quick.has(1)


def test_a_batch_that_is_far_too_slow_ends_it_at_once_and_has_to_be_measured_anew() -> None:
    quick = measured(1, *[FAST] * PASSES, TOO_SLOW_SECONDS)
    for _ in range(PASSES - 1):
        assert not quick.has(1)
        quick.measure(1, FAST)

    assert quick.has(1)


class Same(nn.Module):
    """Answers what it is asked."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0


class Looping(nn.Module):
    """Takes as many rounds as the first number says."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(int(x[0, 0])):
            x = x + 1
        return x


class Clock:
    """Says of each batch that it took `seconds`."""

    def __init__(self) -> None:
        self.seconds = FAST
        self._now = 0.0

    def thread_time(self) -> float:
        self._now += self.seconds
        return self._now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(embedded, "time", SimpleNamespace(thread_time=made.thread_time))
    return made


@pytest.fixture
def computed_here(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each batch, whether it was computed in the event loop's thread."""
    here: list[bool] = []
    forward, own = ComputeThreads.forward, threading.get_ident()

    def noted(
        threads: ComputeThreads, module: torch.jit.ScriptModule, batch: FloatArray, largest: int
    ) -> FloatArray:
        here.append(threading.get_ident() == own)
        return forward(threads, module, batch, largest)

    monkeypatch.setattr(ComputeThreads, "forward", noted)
    return here


@pytest.fixture
async def engine() -> AsyncIterator[EmbeddedEngine]:
    before = torch.get_num_threads()
    running = EmbeddedEngine(device="cpu")
    yield running
    await running.aclose()
    torch.set_num_threads(before)


async def test_quick_batches_are_computed_on_the_event_loop_and_slow_ones_in_a_thread_again(
    engine: EmbeddedEngine, tmp_path: Path, clock: Clock, computed_here: list[bool]
) -> None:
    model = await engine.load(line_archive(tmp_path, scripted(Same())))
    computed_here.clear()  # of warming up
    for _ in range(PASSES + 1):
        assert (await model.infer(HALF)).item() == HALF.item()
    clock.seconds = TOO_SLOW_SECONDS
    for _ in range(2):
        await model.infer(HALF)

    assert computed_here == [False] * PASSES + [True, True, False]


async def test_a_module_with_loops_is_never_computed_on_the_event_loop(
    engine: EmbeddedEngine, tmp_path: Path, clock: Clock, computed_here: list[bool]
) -> None:
    model = await engine.load(line_archive(tmp_path, scripted(Looping())))
    computed_here.clear()  # of warming up
    for _ in range(2 * PASSES):
        await model.infer(HALF)

    assert not any(computed_here)


async def test_a_pass_that_takes_several_threads_is_never_computed_on_the_event_loop(
    tmp_path: Path, clock: Clock, computed_here: list[bool]
) -> None:
    before = torch.get_num_threads()
    engine = EmbeddedEngine(device="cpu", intra_op_threads=2)
    try:
        model = await engine.load(line_archive(tmp_path, scripted(Same())))
        computed_here.clear()  # of warming up
        for _ in range(2 * PASSES):
            await model.infer(HALF)
    finally:
        await engine.aclose()
        torch.set_num_threads(before)

    assert not any(computed_here)
