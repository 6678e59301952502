"""The embedded engine on a real GPU: `pytest -m gpu` where there is one. See docs/gpu.md."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from seqserve.archive import Archive
from seqserve.client import Client, PredictionError
from seqserve.engines.embedded import EmbeddedEngine
from seqserve.errors import Overloaded
from seqserve.golden import check_golden, tolerance_on
from support.served import started
from support.torchscript import HALF, IMAGES, digit_archive, eager, line_archive, scripted

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
]

EXIT_SECONDS = 60


class Greedy(nn.Module):
    """Asks for 256 TiB where it sees a negative number."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool((x < 0).any()):
            x = x + torch.empty([70368744177664], device=x.device)
        return x + 0.5


class Asserting(nn.Module):
    """Looks beyond the end of a table where it sees 1 or more, which a GPU answers by its assert."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        table = torch.full([4], 0.5, device=x.device)
        return x + table[(x.to(torch.int64) * 1000).flatten()].unsqueeze(1)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """An engine sets torch's threads for the whole program."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def digit(tmp_path: Path) -> Archive:
    return digit_archive(tmp_path)


@contextlib.asynccontextmanager
async def engine_on(
    device: str, told: list[str] | None = None, slots: int = 1
) -> AsyncIterator[EmbeddedEngine]:
    """An engine that writes down what it has to tell of its device."""
    notes = [] if told is None else told
    engine = EmbeddedEngine(
        device=device,
        compute_slots=slots,
        on_out_of_memory=lambda: notes.append("full"),
        on_broken=lambda: notes.append("broken"),
    )
    yield engine
    await engine.aclose()


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
async def test_answers_agree_with_the_eager_model(digit: Archive, device: str) -> None:
    bound = tolerance_on("cuda:0")
    async with engine_on(device, slots=2) as engine:
        assert engine.device == "cuda:0"
        model = await engine.load(digit)
        assert await check_golden(digit, model, engine.device) <= bound.absolute + bound.relative
        for size in (1, 2, 3, 100, 256):
            rows = await model.infer(IMAGES[:size])
            np.testing.assert_allclose(rows, eager(IMAGES[:size]), rtol=bound.relative, atol=bound.absolute)


async def test_a_batch_travels_by_one_copy_from_pinned_memory(digit: Archive) -> None:
    async with engine_on("cuda:0") as engine:
        model = await engine.load(digit)
        await model.infer(IMAGES[:5])
        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            await model.infer(IMAGES[:5])

    copies = [event.name for event in profiled.events() if "HtoD" in event.name]
    assert copies == ["Memcpy HtoD (Pinned -> Device)"]


async def test_a_batch_in_staging_memory_travels_by_one_copy_from_there(digit: Archive) -> None:
    bound = tolerance_on("cuda:0")
    async with engine_on("cuda:0") as engine:
        model = await engine.load(digit)
        images, out = IMAGES[:5], np.zeros((5, 10), np.float32)
        memory = model.staging_memory(images.size)
        assert memory is not None
        rows = memory.reshape(images.shape)
        rows[:] = images
        await asyncio.to_thread(model.compute, rows, out)
        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            await asyncio.to_thread(model.compute, rows, out)

    copies = [event.name for event in profiled.events() if "HtoD" in event.name]
    assert copies == ["Memcpy HtoD (Pinned -> Device)"]
    np.testing.assert_allclose(out, eager(images), rtol=bound.relative, atol=bound.absolute)


async def test_a_full_gpu_refuses_a_batch_and_answers_the_next(tmp_path: Path) -> None:
    told: list[str] = []
    async with engine_on("cuda:0", told) as engine:
        model = await engine.load(line_archive(tmp_path, scripted(Greedy())))
        with pytest.raises(Overloaded):
            await model.infer(-HALF)

        assert told == ["full"]
        assert (await model.infer(HALF)).tolist() == [[1.0]]


async def test_memory_is_told(digit: Archive) -> None:
    async with engine_on("cuda:0") as engine:
        await engine.load(digit)
        memory = engine.memory()

    assert memory is not None
    assert 0 < memory.used_bytes <= memory.total_bytes


def test_an_assert_on_the_gpu_ends_the_gateway_with_70(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    line_archive(store, scripted(Asserting()))
    with started(tmp_path, store, "--device=cuda:0") as gateway:
        gateway.wait_for("serving")
        with Client(gateway.grpc) as client, pytest.raises(PredictionError) as refusal:
            client.predict(np.full(1, 1.5, np.float32), model="line")

        assert gateway.process.wait(EXIT_SECONDS) == 70
    assert refusal.value.code == "UNAVAILABLE"
