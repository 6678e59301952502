"""The embedded engine over real TorchScript: agreement, warm-up, and archives that cannot run."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from seqserve.archive import Archive
from seqserve.engines.base import DirectModel
from seqserve.engines.embedded import EmbeddedEngine
from seqserve.errors import ArchiveInvalid, EngineContractError, Overloaded, SettingsInvalid
from seqserve.golden import check_golden, tolerance_on
from support.torchscript import HALF, IMAGES, LINE, digit_archive, eager, line_archive, network, scripted


class Counting(nn.Module):
    """Answers how often it was called, and how many rows it has seen at once at most."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.most = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.most = max(self.most, x.shape[0])
        return torch.zeros_like(x) + self.calls + 1000 * self.most


class OnlySmall(nn.Module):
    """Does not take a full batch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] > 255:
            raise RuntimeError("too many rows")
        return x


class Double(nn.Module):
    """Answers in FP64."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.double()


class Pair(nn.Module):
    """Answers twice."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


class Fewer(nn.Module):
    """Answers one row, whatever comes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:1]


class Greedy(nn.Module):
    """Asks for more memory than any machine has, where it sees a negative number."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool((x < 0).any()):
            x = x + torch.empty([70368744177664])
        return x


@pytest.fixture
def digit(tmp_path: Path) -> Archive:
    return digit_archive(tmp_path)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """An engine sets torch's threads for the whole program."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@asynccontextmanager
async def engine_on(device: str) -> AsyncIterator[EmbeddedEngine]:
    engine = EmbeddedEngine(device=device)
    yield engine
    await engine.aclose()


async def test_answers_agree_with_the_eager_model_at_every_batch_size(digit: Archive) -> None:
    bound = tolerance_on("cpu")
    async with engine_on("cpu") as engine:
        model = await engine.load(digit)
        for size in (1, 2, 7, 256):
            rows = await model.infer(IMAGES[:size])
            assert rows.dtype == np.float32
            np.testing.assert_allclose(rows, eager(IMAGES[:size]), rtol=bound.relative, atol=bound.absolute)


async def test_a_model_computes_in_the_thread_that_asks_it_to(digit: Archive) -> None:
    async with engine_on("cpu") as engine:
        model = await engine.load(digit)
        assert isinstance(model, DirectModel)
        by_thread: dict[str, np.ndarray] = {}

        def compute() -> None:
            out = np.zeros((7, 10), np.float32)
            model.compute(IMAGES[:7], out)
            by_thread[threading.current_thread().name] = out

        strangers = [threading.Thread(target=compute, name=name) for name in ("one", "other")]
        for stranger in strangers:
            stranger.start()
        compute()
        for stranger in strangers:
            await asyncio.to_thread(stranger.join)
        rows = await model.infer(IMAGES[:7])
    assert by_thread.keys() == {"one", "other", threading.current_thread().name}
    for out in by_thread.values():
        np.testing.assert_array_equal(out, rows)


async def test_the_cpu_computes_on_any_memory(digit: Archive) -> None:
    async with engine_on("cpu") as engine:
        assert (await engine.load(digit)).staging_memory(1024) is None


async def test_what_is_computed_must_fit_where_it_goes(digit: Archive) -> None:
    async with engine_on("cpu") as engine:
        model = await engine.load(digit)
        with pytest.raises(EngineContractError, match=r"the module answered \[7, 10\] where \[7, 9\] go"):
            model.compute(IMAGES[:7], np.zeros((7, 9), np.float32))


async def test_what_runs_are_the_bytes_that_were_read_though_the_file_is_replaced(
    digit: Archive, tmp_path: Path
) -> None:
    (tmp_path / "digit-1.mar").write_bytes(b"another model")
    async with engine_on("cpu") as engine:
        model = await engine.load(digit)
        np.testing.assert_allclose(await model.infer(IMAGES[:1]), eager(IMAGES[:1]), atol=1e-5)


async def test_a_loaded_archive_passes_its_golden_check(digit: Archive) -> None:
    async with engine_on("cpu") as engine:
        assert await check_golden(digit, await engine.load(digit), engine.device) <= 1e-5
        assert (engine.name, engine.device) == ("embedded", "cpu")


async def test_rows_of_a_message_may_be_read_only(digit: Archive) -> None:
    content = IMAGES[:2].tobytes()
    async with engine_on("cpu") as engine:
        model = await engine.load(digit)
        rows = await model.infer(np.frombuffer(content, np.float32).reshape(2, 784))

    np.testing.assert_allclose(rows, eager(IMAGES[:2]), atol=1e-5)


async def test_a_loaded_model_is_warm_at_one_example_and_at_a_full_batch(tmp_path: Path) -> None:
    archive = line_archive(tmp_path, scripted(Counting()))
    async with engine_on("cpu") as engine:
        [[told]] = await (await engine.load(archive)).infer(HALF)

    most, calls = divmod(int(told), 1000)
    assert calls - 1 >= 4  # TorchScript specializes its graph in the first two calls of each size
    assert most == LINE.max_batch_size


def running_threads() -> set[str]:
    return {task.name for task in Path("/proc/self/task").iterdir()}


async def test_a_forward_pass_takes_no_more_threads_than_are_set(tmp_path: Path) -> None:
    # Enough for BLAS to share it out, and too little for torch, which would then tell BLAS the number.
    wide = nn.Sequential(nn.Linear(1, 784), nn.Linear(784, 128), nn.Linear(128, 1))
    archive = line_archive(tmp_path, scripted(wide.eval()))
    started = []
    for _ in range(3):  # gRPC of other tests may start a thread of its own meanwhile, but not each time
        async with engine_on("cpu") as engine:
            model = await engine.load(archive)
            before = running_threads()
            await model.infer(np.ones((5, 1), np.float32))
            started.append(len(running_threads() - before))

    assert min(started) == 0  # the compute slot's own is there already


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (OnlySmall(), "too many rows"),
        (Double(), "float64"),
        (Pair(), "tuple"),
        (Fewer(), r"\[1, 1\] to 256 examples"),
    ],
    ids=["not at a full batch", "doubles", "two outputs", "one row for all"],
)
async def test_a_module_that_does_not_run_is_the_archives_fault(
    tmp_path: Path, module: nn.Module, words: str
) -> None:
    archive = line_archive(tmp_path, scripted(module))
    async with engine_on("cpu") as engine:
        with pytest.raises(ArchiveInvalid, match=f"warm-up: the module .*{words}") as refused:
            await engine.load(archive)

    assert "\n" not in str(refused.value)


def a_state_dict() -> bytes:
    buffer = io.BytesIO()
    torch.save(network().state_dict(), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"no TorchScript", scripted(network())[:2000], a_state_dict()],
    ids=["empty", "text", "cut off", "a state_dict"],
)
async def test_a_file_that_is_no_torchscript_is_the_archives_fault(tmp_path: Path, content: bytes) -> None:
    archive = line_archive(tmp_path, content)
    async with engine_on("cpu") as engine:
        with pytest.raises(ArchiveInvalid, match="the TorchScript file does not load") as refused:
            await engine.load(archive)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("device", ["tpu", "gpu:0", "meta", "cuda:x", ""])
def test_a_device_that_there_is_not_is_named_with_those_accepted(device: str) -> None:
    with pytest.raises(SettingsInvalid, match="accepted: auto, cpu, cuda, cuda:N") as refused:
        EmbeddedEngine(device=device)

    assert f"device: {device!r}" in str(refused.value)


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_gpu_on_a_machine_without_one_is_refused(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(SettingsInvalid, match=f"device: '{device}'.* sees 0 GPUs here"):
        EmbeddedEngine(device=device)


def test_auto_is_the_cpu_on_a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert EmbeddedEngine(device="auto").device == "cpu"


async def test_a_batch_without_memory_is_refused_and_counted_and_the_next_is_answered(tmp_path: Path) -> None:
    told: list[str] = []
    engine = EmbeddedEngine(
        device="cpu", on_out_of_memory=lambda: told.append("full"), on_broken=lambda: told.append("broken")
    )
    model = await engine.load(line_archive(tmp_path, scripted(Greedy())))

    with pytest.raises(Overloaded, match="cpu has no memory left for this batch"):
        await model.infer(-HALF)

    out = np.zeros((1, 1), np.float32)
    with pytest.raises(Overloaded, match="cpu has no memory left for this batch"):
        model.compute(-HALF, out)

    assert told == ["full", "full"]
    assert (await model.infer(HALF)).item() == 0.5
    model.compute(HALF, out)
    assert out.item() == 0.5
    await engine.aclose()


async def test_callers_are_answered_while_a_version_is_loaded(
    digit: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, entered, go_on = torch.jit.load, threading.Event(), threading.Event()

    def slow_load(*arguments: object, **options: object) -> object:
        entered.set()
        go_on.wait()
        return load(*arguments, **options)  # type: ignore[no-untyped-call]  # torch's

    async with engine_on("cpu") as engine:
        model = await engine.load(digit)
        monkeypatch.setattr(torch.jit, "load", slow_load)
        loading = asyncio.create_task(engine.load(digit))
        try:
            await asyncio.to_thread(entered.wait)
            rows = await model.infer(IMAGES[:3])  # there is one compute slot
        finally:
            go_on.set()
        np.testing.assert_array_equal(await (await loading).infer(IMAGES[:3]), rows)


def test_neither_a_gpus_memory_nor_its_use_is_told_of_the_cpu() -> None:
    engine = EmbeddedEngine(device="cpu")

    assert (engine.memory(), engine.utilisation()) == (None, None)
