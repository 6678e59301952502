"""The golden check: agreement within the device's tolerance, and every way to miss it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqserve.archive import Archive, read_archive
from seqserve.errors import ArchiveInvalid, EngineContractError, EngineUnavailable
from seqserve.golden import check_golden, tolerance_on
from seqserve.signature import CPU_TOLERANCE, CUDA_TOLERANCE
from seqserve.trust import UNCHECKED
from support.archives import make_archive
from support.engines import FakeEngine, FloatArray

EVEN = np.full((2, 2), 0.5, np.float32)  # what the archive expects


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return read_archive(make_archive(tmp_path), UNCHECKED)


async def check(archive: Archive, engine: FakeEngine) -> float:
    return await check_golden(archive, await engine.load(archive), engine.device)


async def refusal(archive: Archive, engine: FakeEngine) -> str:
    with pytest.raises(ArchiveInvalid, match="golden check") as refused:
        await check(archive, engine)
    return str(refused.value)


def off_by(delta: float) -> FloatArray:
    answers = EVEN.copy()
    answers[1, 0] += np.float32(delta)
    return answers


def test_cuda_is_allowed_more_than_the_cpu() -> None:
    assert tolerance_on("cpu") == CPU_TOLERANCE
    assert tolerance_on("cuda") == tolerance_on("cuda:3") == CUDA_TOLERANCE
    assert CUDA_TOLERANCE > CPU_TOLERANCE


async def test_equal_answers_agree_by_nothing(archive: Archive) -> None:
    engine = FakeEngine()

    assert await check(archive, engine) == 0.0
    assert engine.batches == [len(archive.golden_inputs)]


@pytest.mark.parametrize(("device", "delta"), [("cpu", 1.4e-5), ("cuda:0", 5.9e-4)])
async def test_a_difference_within_the_bound_is_told(archive: Archive, device: str, delta: float) -> None:
    assert await check(archive, FakeEngine(device=device, wrong=off_by(delta))) == pytest.approx(
        delta, rel=0.01
    )


@pytest.mark.parametrize(("device", "delta"), [("cpu", 1.6e-5), ("cpu", -1.6e-5), ("cuda:0", 6.1e-4)])
async def test_one_number_beyond_the_bound_is_refused(archive: Archive, device: str, delta: float) -> None:
    message = await refusal(archive, FakeEngine(device=device, wrong=off_by(delta)))

    *_, told, on, where = message.split()
    assert float(told) == pytest.approx(abs(delta), rel=0.01)
    assert (on, where) == ("on", device)


async def test_nan_is_refused(archive: Archive) -> None:
    await refusal(archive, FakeEngine(wrong=off_by(float("nan"))))


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (2, 3)])
async def test_another_shape_is_refused_even_where_it_could_be_broadcast(
    archive: Archive, shape: tuple[int, int]
) -> None:
    message = await refusal(archive, FakeEngine(wrong=np.full(shape, 0.5, np.float32)))

    assert str(shape) in message


async def test_nonsense_from_the_engine_is_the_archives_fault(archive: Archive) -> None:
    assert "3 answers" in await refusal(archive, FakeEngine(fault=EngineContractError("3 answers")))


async def test_an_engine_that_is_away_is_not_the_archives_fault(archive: Archive) -> None:
    with pytest.raises(EngineUnavailable):
        await check(archive, FakeEngine(fault=EngineUnavailable("away")))
