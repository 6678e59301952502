"""What `seqserve tune` runs through an engine, with one that answers at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from seqserve.archive import Archive, read_archive
from seqserve.engine_setup import EngineHooks
from seqserve.errors import ArchiveInvalid
from seqserve.settings import Settings
from seqserve.signature import Signature
from seqserve.trust import UNCHECKED
from seqserve.tuning import measuring
from seqserve.tuning.measuring import LAPS, Effort, Measured, measure, rows_of, steps_on
from support.archives import make_archive
from support.contract import signature_document
from support.engines import FakeEngine

LARGEST = 6
SIZES = [1, 2, 4, 6]
EFFORT = Effort(rounds=20, largest_seconds=1000)


class Steps:
    """How far it is said to be."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int, int, int]] = []
        self.ended = self.skipped = 0

    def begin(self, model: str, batch_size: int, threads: int, lap: int) -> None:
        self.begun.append((model, batch_size, threads, lap))

    def skip(self, steps: int) -> None:
        self.skipped += steps

    def end(self) -> None:
        self.ended += 1


class World:
    """Engines that are asked for, each in its turn, on a machine of four cores."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.settings: list[Settings] = []
        self.engines: list[FakeEngine] = []
        self.steps = Steps()

    @asynccontextmanager
    async def running_engine(
        self, settings: Settings, archives: Sequence[Path], hooks: EngineHooks
    ) -> AsyncIterator[FakeEngine]:
        self.settings.append(settings)
        self.engines.append(FakeEngine(device=self.device))
        yield self.engines[-1]

    async def measure(self, archives: Sequence[Archive], effort: Effort = EFFORT) -> Measured:
        return await measure(Settings(with_torchserve=True, compute_slots=3), archives, effort, self.steps)


@pytest.fixture
def world(request: pytest.FixtureRequest, environment: pytest.MonkeyPatch) -> World:
    """On the CPU, unless the test names another device."""
    world = World(getattr(request, "param", "cpu"))
    environment.setattr(measuring, "running_engine", world.running_engine)
    environment.setattr(measuring, "available_cores", lambda: 4)
    return world


def archive(folder: Path, name: str = "tiny", *, outputs: float = 0.5) -> Archive:
    signature = Signature.parse(signature_document("tiny_image")).model_copy(
        update={"max_batch_size": LARGEST}
    )
    golden = np.full((2, 6), 0.5, np.float32), np.full((2, 2), outputs, np.float32)
    return read_archive(make_archive(folder, name, signature=signature, golden=golden), UNCHECKED)


async def test_every_size_is_run_on_every_number_of_threads_in_an_engine_of_its_own(
    world: World, tmp_path: Path
) -> None:
    measured = await world.measure([archive(tmp_path), archive(tmp_path, "other")])

    assert [(own.intra_op_threads, own.compute_slots) for own in world.settings] == [(1, 1), (2, 1), (4, 1)]
    assert not any(own.with_torchserve for own in world.settings)
    assert [(curve.model, curve.threads) for curve in measured.curves] == [
        ("tiny", (1, 2, 4)),
        ("other", (1, 2, 4)),
    ]
    for curve in measured.curves:
        for threads in curve.threads:
            assert [(point.batch_size, point.rounds) for point in curve.on(threads)] == [
                (n, 20) for n in SIZES
            ]
    assert {*world.engines[0].batches} == {2, *SIZES}  # the golden rows are two
    assert (measured.device, measured.machine.cores, measured.machine.is_gpu) == ("cpu", 4, False)


async def test_all_sizes_are_run_in_each_lap(world: World, tmp_path: Path) -> None:
    await world.measure([archive(tmp_path)])

    first = [(size, lap) for _, size, threads, lap in world.steps.begun if threads == 1]
    assert first == [(size, lap) for lap in range(LAPS) for size in SIZES]


@pytest.mark.parametrize("world", ["cpu", "cuda:0"], indirect=True)
@pytest.mark.parametrize("largest_seconds", [0.0, 1000.0])
async def test_the_steps_that_are_told_are_as_many_as_were_announced(
    world: World, tmp_path: Path, largest_seconds: float
) -> None:
    archives = [archive(tmp_path), archive(tmp_path, "other")]
    await world.measure(archives, Effort(10, largest_seconds))

    assert world.steps.ended == len(world.steps.begun)
    assert world.steps.ended + world.steps.skipped == steps_on([1, 2, 4], archives) == LAPS * 2 * 4 * 3


@pytest.mark.parametrize("world", ["cuda:0"], indirect=True)
async def test_on_a_gpu_threads_do_not_matter(world: World, tmp_path: Path) -> None:
    measured = await world.measure([archive(tmp_path)])

    assert (measured.device, measured.machine.is_gpu) == ("cuda:0", True)
    assert measured.curves[0].threads == (1,)
    assert len(world.engines) == 1


async def test_larger_batches_are_left_out_behind_one_that_is_too_slow(world: World, tmp_path: Path) -> None:
    measured = await world.measure([archive(tmp_path)], Effort(10, largest_seconds=0))

    assert {point.batch_size for point in measured.curves[0].points} == {1}


async def test_a_model_that_takes_long_gets_fewer_rounds(world: World, tmp_path: Path) -> None:
    measured = await world.measure([archive(tmp_path)], Effort(1000, 1000, point_seconds=0))

    assert {point.rounds for point in measured.curves[0].points} == {LAPS}


async def test_a_model_that_does_not_answer_its_golden_rows_is_named(world: World, tmp_path: Path) -> None:
    with pytest.raises(ArchiveInvalid, match="tiny 1: golden check: answers differ"):
        await world.measure([archive(tmp_path, outputs=0.25)])


def test_a_batch_holds_the_golden_rows_over_and_over() -> None:
    golden = np.array([[1.0], [2.0]], np.float32)

    assert rows_of(golden, 5).tolist() == [[1.0], [2.0], [1.0], [2.0], [1.0]]
    assert rows_of(golden, 5).flags.writeable  # as a gateway's batch is, which spares a copy
