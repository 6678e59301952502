"""The embedded engine over real TorchScript: agreement, warm-up, and archives that cannot run."""

from __future__ import annotations

import io
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from seqserve.archive import Archive, read_archive
from seqserve.engines.embedded import EmbeddedEngine
from seqserve.errors import ArchiveInvalid, SettingsInvalid
from seqserve.golden import check_golden, tolerance_on
from seqserve.signature import Signature
from support.archives import FloatArray, make_archive
from support.contract import signature_document

DIGIT = Signature.parse(signature_document("digit"))
LINE = Signature.parse(signature_document("line"))  # batches of at most 256
IMAGES = np.random.default_rng(7).random((256, 784), np.float32)
HALF, ONE = np.full((1, 1), 0.5, np.float32), np.full((1, 1), 1.0, np.float32)


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


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10), nn.Softmax(dim=-1)).eval()


def eager(rows: FloatArray) -> FloatArray:
    with torch.inference_mode():
        answers: FloatArray = network()(torch.from_numpy(rows.copy())).numpy()
    return answers


def scripted(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # TorchScript's deprecation is no news here
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()


def line_archive(folder: Path, torchscript: bytes) -> Archive:
    members = {"line.pt": torchscript}
    return read_archive(make_archive(folder, "line", signature=LINE, golden=(HALF, ONE), replace=members))


@pytest.fixture
def digit(tmp_path: Path) -> Archive:
    golden = IMAGES[:8], eager(IMAGES[:8])
    members = {"digit.pt": scripted(network())}
    return read_archive(make_archive(tmp_path, "digit", signature=DIGIT, golden=golden, replace=members))


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


@pytest.mark.parametrize(
    ("module", "words"),
    [(OnlySmall(), "too many rows"), (Double(), "float64"), (Pair(), "tuple")],
    ids=["not at a full batch", "doubles", "two outputs"],
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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")
@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
async def test_on_a_gpu_answers_agree_with_the_eager_model(digit: Archive, device: str) -> None:
    bound = tolerance_on("cuda:0")
    async with engine_on(device) as engine:
        assert engine.device == "cuda:0"
        model = await engine.load(digit)
        assert await check_golden(digit, model, engine.device) <= bound.absolute + bound.relative
        rows = await model.infer(IMAGES)

    np.testing.assert_allclose(rows, eager(IMAGES), rtol=bound.relative, atol=bound.absolute)
