"""The embedded engine's rules for a GPU, over one that the CPU plays: copies, padding, warm-up, faults."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from seqserve.archive import Archive
from seqserve.engines.base import DeviceMemory, FloatArray, LoadedModel
from seqserve.engines.embedded import EmbeddedEngine, EmbeddedModel
from seqserve.engines.embedded_staging import bucket_of, buckets_up_to
from seqserve.errors import ArchiveInvalid, EngineContractError, EngineUnavailable, Overloaded
from seqserve.golden import check_golden
from support.gpu import FakeGpu
from support.torchscript import HALF, IMAGES, digit_archive, eager, line_archive, scripted

BARRIER_SECONDS = 30.0  # never waited for, unless a thread is missing
ASSERTED = torch.AcceleratorError("CUDA error: device-side assert triggered")


class Touchy(nn.Module):
    """Fails where it sees a negative number; below -1 because it asks for more memory than there can be."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool((x < -1).any()):
            x = x + torch.empty([70368744177664])
        if bool((x < 0).any()):
            raise RuntimeError("CUDA out of memory: negative")  # its own words, which prove nothing
        return x


class Misfit(nn.Module):
    """Cannot multiply two rows, and says so in a line that speaks of memory."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ x if x.shape[0] == 2 else x  # not: out of memory


class Crowded(nn.Module):
    """Answers how many rows came with each; one alone as it is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, x.shape[0]) if x.shape[0] > 1 else x


class OneRowLess(nn.Module):
    """Forgets a row of a batch of eight."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:7] if x.shape[0] == 8 else x


@pytest.fixture(autouse=True)
def torch_settings() -> Iterator[None]:
    """An engine sets them for the whole program."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = torch.get_num_threads(), matmul.allow_tf32, cudnn.allow_tf32
    yield
    torch.set_num_threads(before[0])
    matmul.allow_tf32, cudnn.allow_tf32 = before[1:]


@pytest.fixture
def gpu() -> FakeGpu:
    return FakeGpu()


@pytest.fixture
def told() -> list[str]:
    """What the engine told of the device."""
    return []


@pytest.fixture
async def engine(gpu: FakeGpu, told: list[str]) -> AsyncIterator[EmbeddedEngine]:
    running = EmbeddedEngine(
        device=gpu,
        on_out_of_memory=lambda: told.append("full"),
        on_broken=lambda: told.append("broken"),
    )
    yield running
    await running.aclose()


@pytest.fixture
def digit(tmp_path: Path) -> Archive:
    return digit_archive(tmp_path)


@pytest.fixture
async def model(engine: EmbeddedEngine, digit: Archive, gpu: FakeGpu) -> EmbeddedModel:
    """`digit`, loaded; what the load copied is forgotten."""
    loaded = await engine.load(digit)
    gpu.sizes.clear()
    gpu.threads.clear()
    gpu.pinned_elements.clear()
    return loaded


def staged(model: EmbeddedModel, rows: FloatArray) -> FloatArray:
    """The rows in memory that the model has given for them."""
    memory = model.staging_memory(rows.size)
    assert memory is not None
    staged_rows = memory.reshape(rows.shape)
    staged_rows[:] = rows
    return staged_rows


@pytest.mark.parametrize(
    ("largest", "buckets"),
    [(1, (1,)), (2, (1, 2)), (8, (1, 2, 4, 8)), (100, (1, 2, 4, 8, 16, 32, 64, 100))],
)
def test_buckets_are_the_powers_of_two_and_the_largest_batch(largest: int, buckets: tuple[int, ...]) -> None:
    assert buckets_up_to(largest) == buckets


@pytest.mark.parametrize("largest", [1, 2, 8, 100, 256])
def test_every_batch_has_the_least_bucket_that_holds_it(largest: int) -> None:
    for size in range(1, largest + 1):
        assert bucket_of(size, largest) == min(each for each in buckets_up_to(largest) if each >= size)


async def test_each_batch_travels_by_one_copy_of_its_bucket(model: LoadedModel, gpu: FakeGpu) -> None:
    for size in (1, 2, 5, 129, 256):
        rows = await model.infer(IMAGES[:size])
        np.testing.assert_allclose(rows, eager(IMAGES[:size]), rtol=1e-5, atol=1e-5)

    assert gpu.sizes == [1, 2, 8, 256, 256]


async def test_rows_that_pad_a_batch_repeat_its_last_one(model: LoadedModel, gpu: FakeGpu) -> None:
    await model.infer(IMAGES[10:18])
    await model.infer(IMAGES[:5])

    np.testing.assert_array_equal(gpu.last.numpy(), IMAGES[[0, 1, 2, 3, 4, 4, 4, 4]])


async def test_a_slot_pins_one_buffer_for_the_largest_batch(model: LoadedModel, gpu: FakeGpu) -> None:
    for size in (1, 256, 3):
        await model.infer(IMAGES[:size])

    assert gpu.pinned_elements == [256 * 784]


async def test_a_buffer_serves_models_of_any_shape(
    engine: EmbeddedEngine, model: LoadedModel, tmp_path: Path
) -> None:
    line = await engine.load(line_archive(tmp_path, scripted(Touchy())))

    for _ in range(2):
        assert (await line.infer(HALF)).tolist() == HALF.tolist()
        np.testing.assert_allclose(await model.infer(IMAGES[:3]), eager(IMAGES[:3]), rtol=1e-5, atol=1e-5)


async def test_no_buffer_is_written_while_a_copy_may_read_it(
    engine: EmbeddedEngine, gpu: FakeGpu, tmp_path: Path
) -> None:
    model = await engine.load(line_archive(tmp_path, scripted(Touchy())))
    with pytest.raises(EngineContractError, match="negative"):
        await model.infer(-HALF)  # nobody has waited for its answer

    await model.infer(HALF)
    await model.infer(2 * HALF)

    assert gpu.overwritten == 0


async def test_a_batch_that_lies_in_staging_memory_travels_from_there(
    model: EmbeddedModel, gpu: FakeGpu
) -> None:
    rows, out = staged(model, IMAGES[:5]), np.zeros((5, 10), np.float32)
    await asyncio.to_thread(model.compute, rows, out)

    assert (gpu.copied_from, gpu.sizes) == (rows.ctypes.data, [5])
    assert gpu.pinned_elements == [rows.size]  # and none for the lane
    np.testing.assert_allclose(out, eager(IMAGES[:5]), rtol=1e-5, atol=1e-5)


async def test_a_batch_in_staging_memory_is_padded_on_the_device(
    engine: EmbeddedEngine, gpu: FakeGpu, tmp_path: Path
) -> None:
    model = await engine.load(line_archive(tmp_path, scripted(Crowded())))
    rows, out = staged(model, np.full((5, 1), 0.5, np.float32)), np.zeros((5, 1), np.float32)
    await asyncio.to_thread(model.compute, rows, out)

    assert out.tolist() == [[8.0]] * 5
    assert gpu.sizes[-1] == 5


async def test_staging_memory_is_the_callers_again_when_a_batch_has_failed(
    engine: EmbeddedEngine, gpu: FakeGpu, tmp_path: Path
) -> None:
    model = await engine.load(line_archive(tmp_path, scripted(Touchy())))
    rows, out = staged(model, -HALF), np.zeros((1, 1), np.float32)

    def fail_and_go_on() -> None:
        with pytest.raises(EngineContractError, match="negative"):
            model.compute(rows, out)
        rows[:] = 0.5
        model.compute(rows, out)

    await asyncio.to_thread(fail_and_go_on)
    assert (out.item(), gpu.overwritten) == (0.5, 0)


async def test_a_host_without_memory_to_pin_is_full(
    model: EmbeddedModel, gpu: FakeGpu, told: list[str]
) -> None:
    gpu.fault = torch.AcceleratorError("CUDA error: out of memory")
    with pytest.raises(Overloaded):
        model.staging_memory(1024)
    gpu.fault = RuntimeError("CUDA error: OS call failed")
    with pytest.raises(Overloaded, match="no memory for batches: CUDA error: OS call failed"):
        model.staging_memory(1024)

    assert told == ["full"]


async def test_slots_compute_side_by_side_each_with_its_own_buffer(digit: Archive, gpu: FakeGpu) -> None:
    engine = EmbeddedEngine(device=gpu, compute_slots=2)
    model = await engine.load(digit)
    both = threading.Barrier(2)
    gpu.before_copy = lambda: void(both.wait(BARRIER_SECONDS))  # type: ignore[method-assign]

    first, second = await asyncio.gather(model.infer(IMAGES[:4]), model.infer(IMAGES[4:8]))

    np.testing.assert_allclose(np.concatenate([first, second]), eager(IMAGES[:8]), rtol=1e-5, atol=1e-5)
    assert len(set(gpu.threads[-2:])) == 2
    assert gpu.overwritten == 0
    await engine.aclose()


def void(_: object) -> None:
    """For lambdas that answer nothing."""


async def test_a_loaded_model_is_warm_at_every_bucket(
    engine: EmbeddedEngine, digit: Archive, gpu: FakeGpu
) -> None:
    await engine.load(digit)

    for size in buckets_up_to(256):
        assert gpu.sizes.count(size) >= 2  # TorchScript specializes its graph in the first two calls
    assert set(gpu.sizes) == set(buckets_up_to(256))


async def test_loading_and_warming_up_keep_no_compute_slot_busy(
    engine: EmbeddedEngine, model: LoadedModel, digit: Archive, gpu: FakeGpu
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def wait_while_loading() -> None:
        if threading.current_thread().name.startswith("load"):
            entered.set()
            go_on.wait()

    gpu.before_copy = wait_while_loading  # type: ignore[method-assign]
    loading = asyncio.create_task(engine.load(digit))
    try:
        await asyncio.to_thread(entered.wait)
        rows = await model.infer(IMAGES[:8])
    finally:
        go_on.set()

    np.testing.assert_allclose(rows, eager(IMAGES[:8]), rtol=1e-5, atol=1e-5)
    await loading


async def test_a_module_that_loses_rows_of_a_padded_batch_is_the_archives_fault(
    engine: EmbeddedEngine, tmp_path: Path
) -> None:
    with pytest.raises(ArchiveInvalid, match=r"warm-up: the module answered \[7, 1\] to 8 examples"):
        await engine.load(line_archive(tmp_path, scripted(OneRowLess())))


@pytest.mark.parametrize(
    "fault",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
    ids=["allocator", "runtime", "cuBLAS", "cuDNN"],
)
async def test_a_full_gpu_is_overload_and_is_counted(
    model: LoadedModel, gpu: FakeGpu, told: list[str], fault: Exception
) -> None:
    gpu.fault = fault
    with pytest.raises(Overloaded, match="cuda:0 has no memory left for this batch"):
        await model.infer(IMAGES)
    gpu.fault = None

    np.testing.assert_allclose(await model.infer(IMAGES), eager(IMAGES), rtol=1e-5, atol=1e-5)
    assert told == ["full"]


async def test_a_modules_own_words_say_nothing_of_the_gpu(
    engine: EmbeddedEngine, told: list[str], tmp_path: Path
) -> None:
    model = await engine.load(line_archive(tmp_path, scripted(Touchy())))

    with pytest.raises(EngineContractError, match="negative"):
        await model.infer(-HALF)

    assert told == []


async def test_a_modules_quoted_source_says_nothing_of_the_gpu(
    engine: EmbeddedEngine, told: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ArchiveInvalid, match="warm-up: the module failed: mat1 and mat2"):
        await engine.load(line_archive(tmp_path, scripted(Misfit())))

    assert told == []


async def test_a_refusal_for_want_of_memory_keeps_none(
    engine: EmbeddedEngine, gpu: FakeGpu, told: list[str], tmp_path: Path
) -> None:
    model = await engine.load(line_archive(tmp_path, scripted(Touchy())))

    with pytest.raises(Overloaded) as refusal:
        await model.infer(-4 * HALF)

    assert refusal.value.retry_after_seconds > 0
    assert told == ["full"]
    assert gpu.held == 0


async def test_a_gpu_that_is_full_while_a_model_is_loaded_is_overload(
    engine: EmbeddedEngine, digit: Archive, gpu: FakeGpu, told: list[str]
) -> None:
    gpu.fault = torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(Overloaded):
        await engine.load(digit)

    assert told == ["full"]


@pytest.mark.parametrize(
    "fault",
    [
        ASSERTED,
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("Traceback of TorchScript:\n    x + 1\n    ~~~ <--- HERE\nRuntimeError: CUDA error: "
                     "unspecified launch failure\nCompile with `TORCH_USE_CUDA_DSA`.\n"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ],
    ids=["assert", "address", "launch", "cuDNN"],
)  # fmt: skip
async def test_a_broken_gpu_is_told_of_by_every_batch_that_meets_it(
    model: LoadedModel, gpu: FakeGpu, told: list[str], fault: Exception
) -> None:
    gpu.fault, gpu.is_broken = fault, True
    cause = str(fault).rpartition("RuntimeError: ")[2].splitlines()[0]

    for _ in range(2):
        with pytest.raises(EngineUnavailable, match=f"cuda:0 is broken for this process: {cause}"):
            await model.infer(IMAGES[:1])

    assert told == ["broken", "broken"]


async def test_a_gpu_that_breaks_while_a_model_is_loaded_is_told_of(
    engine: EmbeddedEngine, digit: Archive, gpu: FakeGpu, told: list[str]
) -> None:
    gpu.is_broken = True  # found by the wait for the weights

    with pytest.raises(EngineUnavailable):
        await engine.load(digit)

    assert told == ["broken"]


async def test_an_error_that_does_not_stick_is_the_modules(
    model: LoadedModel, gpu: FakeGpu, told: list[str]
) -> None:
    gpu.fault = RuntimeError("CUDA error: invalid argument")
    with pytest.raises(EngineContractError, match="the module failed: CUDA error: invalid argument"):
        await model.infer(IMAGES[:1])
    gpu.fault = None

    assert (await model.infer(IMAGES[:1])).shape == (1, 10)
    assert told == []


@pytest.mark.parametrize("is_allowed", [False, True])
def test_tf32_is_off_unless_it_is_asked_for(gpu: FakeGpu, *, is_allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not is_allowed

    if is_allowed:
        EmbeddedEngine(device=gpu, allow_tf32=True)
    else:
        EmbeddedEngine(device=gpu)

    assert torch.backends.cuda.matmul.allow_tf32 is is_allowed
    assert torch.backends.cudnn.allow_tf32 is is_allowed


async def test_a_loaded_archive_passes_its_golden_check_on_the_gpu(
    engine: EmbeddedEngine, model: LoadedModel, digit: Archive
) -> None:
    assert engine.device == "cuda:0"
    assert await check_golden(digit, model, engine.device) <= 1e-5


async def test_the_gpus_memory_and_use_are_told(engine: EmbeddedEngine) -> None:
    assert engine.memory() == DeviceMemory(used_bytes=3_000, total_bytes=8_000)
    assert engine.utilisation() == 0.25
