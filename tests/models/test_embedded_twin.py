"""A module's twin in C++: the same numbers as the module, on any thread, and never in its place where they differ."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs
from torch import nn
from torch.jit._script import RecursiveScriptModule

from seqserve.engines import embedded_twin
from seqserve.engines.base import FloatArray, Graph
from seqserve.engines.embedded import EmbeddedEngine
from seqserve.native_front import graphs, library
from support.torchscript import IMAGES, digit_archive, eager, network, scripted

pytestmark = pytest.mark.skipif(bool(library.why_not()), reason=library.why_not())

WIDTH = 10


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def frozen(module: nn.Module) -> bytes:
    with warnings.catch_warnings():  # TorchScript's deprecation is no news here
        warnings.simplefilter("ignore", DeprecationWarning)
        read = torch.jit.load(io.BytesIO(scripted(module.eval())))  # type: ignore[no-untyped-call]  # torch's
        content: bytes = torch.jit.freeze(read, optimize_numerics=False).save_to_buffer()
    return content


def graph_of(module: nn.Module, example_shape: tuple[int, ...] = (784,), width: int = WIDTH) -> Graph:
    reader = graphs.graph_reader()
    assert reader is not None
    return reader(frozen(module), example_shape, width)


@pytest.mark.parametrize("count", [1, 2, 7, 64, 256])
def test_it_answers_as_the_module_does(count: int) -> None:
    answers = np.empty((count, WIDTH), np.float32)
    graph_of(network()).run(IMAGES[:count], answers)

    np.testing.assert_allclose(answers, eager(IMAGES[:count]), rtol=1e-5, atol=1e-6)


def test_it_sees_examples_in_their_own_shape() -> None:
    block = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 26 * 26, 4))
    images = IMAGES[:5].reshape(5, 1, 28, 28)
    answers = np.empty((5, 4), np.float32)

    graph_of(block, (1, 28, 28), 4).run(images, answers)

    with torch.inference_mode():
        np.testing.assert_allclose(answers, block(torch.from_numpy(images)).numpy(), rtol=1e-4, atol=1e-5)


def test_threads_run_it_at_once() -> None:
    graph, expected = graph_of(network()), eager(IMAGES)

    def ask(row: int) -> bool:
        answers = np.empty((1, WIDTH), np.float32)
        graph.run(IMAGES[row : row + 1], answers)
        return np.allclose(answers, expected[row : row + 1], atol=1e-6)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(ask, list(range(256)) * 4))


def test_what_is_no_torchscript_is_refused() -> None:
    reader = graphs.graph_reader()
    assert reader is not None

    with pytest.raises(RuntimeError, match="archive"):
        reader(b"no module", (784,), WIDTH)


@pytest.mark.parametrize(
    "module",
    [nn.Linear(784, 3), nn.Sequential(nn.Linear(784, WIDTH), nn.Softmax(-1)).double(), nn.Flatten(0)],
    ids=["another width", "another datatype", "another number of rows"],
)
def test_an_answer_of_another_kind_is_a_failure(module: nn.Module) -> None:
    with pytest.raises(RuntimeError):
        graph_of(module).run(IMAGES[:2], np.empty((2, WIDTH), np.float32))


def test_out_must_hold_the_answers() -> None:
    with pytest.raises(ValueError, match="another number of answers"):
        graph_of(network()).run(IMAGES[:2], np.empty((3, WIDTH), np.float32))


class Lying:
    """A graph whose answers are a little beside the module's."""

    engine = None

    def __init__(self, *module: object) -> None:
        self._graph = graph_of(network())

    def run(self, batch: FloatArray, out: FloatArray) -> None:
        self._graph.run(batch, out)
        out += np.float32(1e-6)


def failing(*module: object) -> Graph:
    raise RuntimeError("no such operator\nand a trace")


@pytest.mark.parametrize(("read", "reason"), [(Lying, "its answers differ"), (failing, "no such operator")])
async def test_a_twin_that_is_none_is_done_without(
    tmp_path: Path, read: Callable[..., Graph], reason: str
) -> None:
    engine = EmbeddedEngine(device="cpu", read_graph=read)
    with capture_logs() as logs:
        model = await engine.load(digit_archive(tmp_path))

    assert model.graph is None
    assert [entry["reason"] for entry in logs] == [reason]
    np.testing.assert_allclose(await model.infer(IMAGES[:4]), eager(IMAGES[:4]), atol=1e-6)
    await engine.aclose()


async def test_a_large_module_is_not_written_out_to_learn_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = digit_archive(tmp_path)
    monkeypatch.setattr(embedded_twin, "MAX_BYTES", 1000)
    monkeypatch.setattr(RecursiveScriptModule, "save_to_buffer", lambda *_: pytest.fail("it was"))
    engine = EmbeddedEngine(device="cpu", read_graph=graphs.graph_reader())

    assert (await engine.load(archive)).graph is None
    await engine.aclose()


async def test_a_large_module_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_twin, "MAX_BYTES", 1000)
    engine = EmbeddedEngine(device="cpu", read_graph=graphs.graph_reader())

    assert (await engine.load(digit_archive(tmp_path))).graph is None
    await engine.aclose()


def test_another_torch_is_told_of_and_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "version", lambda _: "9.9.9+cpu")
    with capture_logs() as logs:
        assert graphs.graph_reader() is None

    assert "9.9.9 is installed" in logs[0]["reason"]
    assert "make native" in logs[0]["hint"]
