"""What C++'s queue has beyond Python's: its ledger, its compute slots, faults by number, models that compute."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import traceback
import weakref
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from seqserve.batching.admission import BatchLimits, Part
from seqserve.engines.base import FloatArray, LoadedModel
from seqserve.errors import (
    EngineContractError,
    EngineUnavailable,
    InvalidRequest,
    Overloaded,
    SettingsInvalid,
)
from seqserve.signature import Signature
from support.row_batchers import INPUT, OUTPUT, SIGNATURE, Make, RowBench, answers, native_benches

pytest.importorskip("seqserve.native_front._native", reason="the native front is not built here")

from seqserve.native_front import _native
from seqserve.native_front.computing import Compute, computing
from seqserve.native_front.desk import EventDesk
from seqserve.native_front.faults import KEPT_FAULTS, Faults
from seqserve.native_front.queue import NativeBatcher
from seqserve.native_front.slots import ComputeSlots


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    async with native_benches() as make:
        yield make


async def test_the_ledger_counts_batches_and_examples(make: Make) -> None:
    bench = await make(max_batch_size=2, max_queue_size=3)
    first = await bench.busy()
    leaver, stayer = bench.ask(1.0), bench.ask(2.0)
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        bench.batcher.check(4, deadline=float("inf"))
    leaver.cancel()
    await asyncio.wait((leaver,))
    bench.model.go.set()
    await asyncio.gather(first, stayer)
    await bench.batcher.aclose()
    counts = bench.native["ledger"].read()
    assert counts["reasons"] == {"full": 0, "idle": 2, "delay": 0, "drain": 0}
    assert counts["dropped"]["departed"] == 1
    assert counts["refused"]["full"] == 4
    assert counts["examples"][1] == 2
    assert sum(counts["compute"][0]) == 2
    assert counts["by_size"][1][0] == 2


async def test_a_fault_has_what_callers_may_hear() -> None:
    faults = Faults()
    for error, code, reason, retry_after_ns in [
        (Overloaded("full", retry_after_seconds=2.5), 8, "OVERLOADED", 2_500_000_000),
        (EngineUnavailable("away"), 14, "ENGINE_UNAVAILABLE", 1_000_000_000),
        (EngineContractError("nonsense"), 13, "ENGINE_CONTRACT", -1),
        (InvalidRequest("SHAPE", field="x", came=1, accepted="2"), 3, "SHAPE", -1),
        (ValueError("odd"), 13, "INTERNAL", -1),
    ]:
        number, *rest = faults.note(error).args
        assert rest == [code, str(error), reason, retry_after_ns]
        assert faults.find(number) is error


def test_old_faults_make_room_for_new_ones() -> None:
    faults = Faults()
    first = faults.note(ValueError("first")).args[0]
    for _ in range(KEPT_FAULTS):
        faults.note(ValueError("later"))
    assert str(faults.find(first)) == "the batch failed outside of Python"


class Direct:
    """Computes in the thread that asks."""

    ends_by_itself = True

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.shapes: list[tuple[int, ...]] = []

    def compute(self, batch: FloatArray, out: FloatArray) -> None:
        self.threads.append(threading.current_thread().name)
        self.shapes.append(batch.shape)
        if batch.flat[0] == 13:
            raise Overloaded("no memory left for this batch")
        out[:] = 2 * batch.reshape(len(batch), -1)[:, :1]

    def staging_memory(self, _: int) -> FloatArray | None:
        return None

    async def infer(self, batch: FloatArray) -> FloatArray:
        raise AssertionError("a model that computes by itself is asked for nothing else")

    async def unload(self) -> None:
        pass


class Keeping(Direct):
    """Wants rows to lie in memory of its own, as an engine on a GPU does."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: list[FloatArray] = []
        self.lay_there: list[bool] = []

    def staging_memory(self, numbers: int) -> FloatArray:
        self.memory.append(np.zeros(numbers, np.float32))
        return self.memory[-1]

    def compute(self, batch: FloatArray, out: FloatArray) -> None:
        self.lay_there.append(any(np.shares_memory(batch, each) for each in self.memory))
        out[:] = 2 * batch.reshape(len(batch), -1)[:, :1]


def batcher_of(
    bench: RowBench,
    model: LoadedModel,
    batch: int = 4,
    signature: Signature = SIGNATURE,
    most: int = 100,
) -> NativeBatcher:
    """Another version, whose batches run in the same slot."""
    return NativeBatcher(
        bench.native["queues"], signature, model, BatchLimits(batch), max_request_examples=most,
        ledger=_native.BatchLedger([1], [1]), observer=bench.notes,
    )  # fmt: skip


@pytest.mark.parametrize("kind", [Direct, Keeping])
async def test_rows_lie_where_a_model_that_computes_wants_them(make: Make, kind: type[Direct]) -> None:
    model = kind()
    batcher = batcher_of(await make(max_batch_size=4), model)
    for first in (1.0, 2.0, 3.0, 4.0, 5.0):
        part = Part(np.full((3, *INPUT), first, np.float32), 3)
        [outcome] = await batcher.submit([part], deadline=None)
        assert (outcome.result == 2 * first).all()
    await batcher.aclose()

    if isinstance(model, Keeping):
        assert model.lay_there == [True] * 5
        assert [len(each) for each in model.memory] == [4 * (math.prod(INPUT) + math.prod(OUTPUT))] * 3


@pytest.mark.parametrize(
    ("shape", "most", "words"),
    [
        ([-1, 1, 65536], 20000, "max_request_examples: 20000; accepted for tiny_image 1: at most 4095"),
        ([-1, 1, 65536], 4096, "max_request_examples: 4096; accepted for tiny_image 1: at most 4095"),
        ([-1, 1, 2**26], 1, "max_batch_size: 1; accepted for tiny_image 1: at most 0"),
    ],
)
async def test_limits_without_memory_name_the_setting_and_what_is_accepted(
    make: Make, shape: list[int], most: int, words: str
) -> None:
    wide = SIGNATURE.model_copy(update={"input": SIGNATURE.input.model_copy(update={"shape": shape})})
    with pytest.raises(SettingsInvalid, match=words) as refused:
        batcher_of(await make(max_batch_size=4), Direct(), batch=1, signature=wide, most=most)
    assert "or serve with --front python" in refused.value.hint


async def test_after_a_burst_rows_lie_where_the_model_wants_them_again(make: Make) -> None:
    model = Keeping()
    batcher = batcher_of(await make(max_batch_size=4), model)
    part = Part(np.ones((20, *INPUT), np.float32), 20)
    await batcher.submit([part], deadline=None)
    assert model.lay_there.count(False) == 2  # five buffers, of which three are the model's
    model.lay_there.clear()
    for _ in range(5):
        await batcher.submit([Part(np.ones((3, *INPUT), np.float32), 3)], deadline=None)
    await batcher.aclose()

    assert model.lay_there == [True] * 5


async def test_a_model_without_room_for_rows_says_why(make: Make) -> None:
    class Full(Direct):
        def staging_memory(self, _: int) -> FloatArray | None:
            raise Overloaded("no memory to pin")

    with pytest.raises(Overloaded, match="no memory to pin"):
        batcher_of(await make(max_batch_size=4), Full())


def test_a_model_that_computes_directly_runs_in_the_calling_thread() -> None:
    model, faults = Direct(), Faults()
    compute = computing(model, (1, 2), faults)
    out = np.zeros((3, 2), np.float32)
    compute(np.full((3, 2), 4, np.float32), out)
    assert model.threads == [threading.current_thread().name]
    assert model.shapes == [(3, 1, 2)]
    assert (out == 8).all()
    with pytest.raises(_native.EngineFault) as caught:
        compute(np.full((3, 2), 13, np.float32), out)
    assert caught.value.args[1:3] == (8, "no memory left for this batch")


def number_of_fault(compute: Compute, arrays: list[FloatArray]) -> int:
    """What a compute slot keeps of a batch that fails."""
    try:
        compute(*arrays)
    except _native.EngineFault as fault:
        return int(fault.args[0])
    pytest.fail("nothing was raised")


class OnLoop:
    """A model that cannot compute in the thread that asks."""

    def __init__(self, model: Direct) -> None:
        self.infer, self.unload = model.infer, model.unload


class Raising(Direct):
    """Fails with an error that was raised from another one, which has a cycle; the batch is in every frame."""

    def compute(self, batch: FloatArray, out: FloatArray) -> None:
        try:
            self._fail(batch, out)
        except ValueError as error:
            error.__cause__ = lost = EngineUnavailable("away")
            raise lost from error

    def _fail(self, batch: FloatArray, out: FloatArray) -> None:
        raise ValueError(len(batch) + len(out))

    async def infer(self, batch: FloatArray) -> FloatArray:
        self.compute(batch, batch)
        return batch


@pytest.mark.parametrize("is_direct", [True, False], ids=["directly", "on the loop"])
async def test_a_fault_is_kept_with_its_lines_and_without_the_memory_of_its_batch(*, is_direct: bool) -> None:
    faults, model = Faults(), Raising()
    compute = computing(model if is_direct else OnLoop(model), (2,), faults)
    rows, out = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    held = weakref.ref(rows), weakref.ref(out)
    arrays = [rows, out]
    del rows, out
    error = faults.find(await asyncio.to_thread(number_of_fault, compute, arrays))
    arrays.clear()
    gc.collect()

    assert [each() is None for each in held] == [True, True]
    assert "in _fail" in "".join(traceback.format_exception(error))


async def test_answers_of_another_size_fail_the_batch(make: Make) -> None:
    bench = await make(max_batch_size=4)
    bench.model.answers = lambda batch: np.zeros((len(batch), 77), np.float32)
    bench.model.go.set()
    with pytest.raises(EngineContractError, match="answers of shape"):
        await bench.ask(1.0)


async def test_rows_of_another_width_are_the_callers_mistake(make: Make) -> None:
    bench = await make(max_batch_size=4)
    with pytest.raises(ValueError, match="rows of"):
        bench.batcher.version.submit(1, [np.zeros((1, 3), np.float32)], _native.NEVER)  # type: ignore[attr-defined]  # C++'s
    with pytest.raises(ValueError, match="accepted: 1 to 100"):
        await bench.ask(1.0, rows=101)


async def test_a_slot_that_hangs_in_a_batch_does_not_keep_the_program(make: Make) -> None:
    bench = await make(max_batch_size=4)
    caller = await bench.busy()
    slots: ComputeSlots = bench.native["slots"]
    assert not await slots.aclose(0.0)
    bench.model.go.set()
    await caller
    assert answers(caller) == [100.0]
    assert await slots.aclose(10.0)


async def test_news_that_cannot_be_told_keep_nobody_else_waiting() -> None:
    desk = EventDesk()
    told: list[str] = []
    runners = _native.Runners()

    def compute(rows: FloatArray, out: FloatArray) -> None:
        raise ValueError

    version = _native.Version(
        desk.native, runners, _native.BatchLedger([1], [1]), 7, input_width=int(np.prod(INPUT)),
        output_width=int(np.prod(OUTPUT)), max_batch_rows=1, max_queue_rows=4, max_request_rows=4,
        max_queue_delay_ns=0, max_batch_ns=_native.NEVER, compute=compute,
    )  # fmt: skip
    done = asyncio.Event()

    def answered(request: int, ending: str, *_: object) -> None:
        told.append(f"{request} {ending}")
        done.set()

    def failed(*_: object) -> None:
        raise ValueError

    desk.on("failed", failed)
    desk.on("answered", answered)
    desk.start()
    slots = ComputeSlots(runners, 1)
    slots.start()
    version.open()
    version.submit(3, [np.zeros((1, *INPUT), np.float32)], _native.NEVER)
    await done.wait()
    assert told == ["3 engine_failed"]
    desk.stop()
    desk.stop()
    assert await slots.aclose(10.0)


class Doubling:
    """Something that can be seen to be let go of."""

    def __call__(self, rows: FloatArray, out: FloatArray) -> None:
        out[:] = 2 * rows


def version_of(
    compute: Callable[[FloatArray, FloatArray], None],
    allocate: Callable[[int], FloatArray] | None = None,
) -> _native.Version:
    return _native.Version(
        _native.Desk(), _native.Runners(), _native.BatchLedger([1], [1]), 1, input_width=2, output_width=2,
        max_batch_rows=4, max_queue_rows=100, max_request_rows=20, max_queue_delay_ns=0,
        max_batch_ns=_native.NEVER, compute=compute, allocate=allocate,
    )  # fmt: skip


def test_a_version_that_goes_lets_go_of_its_model() -> None:
    compute = Doubling()
    model = weakref.ref(compute)
    version = version_of(compute)
    del compute
    version.open()
    version.submit(1, [np.zeros((3, 2), np.float32)], _native.NEVER)
    version.abort()
    assert model() is not None
    del version
    assert model() is None


def test_memory_for_the_first_buffers_is_asked_of_python_and_later_buffers_are_the_hosts() -> None:
    asked: list[int] = []

    def allocate(floats: int) -> FloatArray:
        asked.append(floats)
        return np.zeros(floats, np.float32)

    version = version_of(Doubling(), allocate)
    assert asked == [4 * (2 + 2)] * 3
    version.open()
    version.submit(1, [np.zeros((20, 2), np.float32)], _native.NEVER)
    assert len(asked) == 3
    version.abort()
    with pytest.raises(ValueError, match="less memory"):
        version_of(Doubling(), lambda floats: np.zeros(floats - 1, np.float32))
    for other in (np.zeros(99, np.float64), np.zeros((99, 2), np.float32)[:, 0]):
        with pytest.raises(ValueError, match="no FP32, or lies in pieces"):
            version_of(Doubling(), lambda _, other=other: other)  # type: ignore[misc]


async def test_rows_lie_in_the_staging_buffer_and_what_is_written_is_the_answer(make: Make) -> None:
    bench = await make(max_batch_size=4)
    seen: list[tuple[bool, bool]] = []

    def answer(batch: FloatArray) -> FloatArray:
        seen.append((batch.flags.owndata, batch.flags.c_contiguous))
        return np.full((len(batch), *OUTPUT), 5, np.float32)

    bench.model.answers = answer
    bench.model.go.set()
    caller = bench.ask(1.0, 2.0)
    await caller
    assert answers(caller) == [5.0, 5.0]
    assert seen == [(False, True)]
