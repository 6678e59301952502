"""The embedded engine behind the native front: real TorchScript, whose quick batches run on the front's thread."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import torch

from seqserve.archive import scan_store
from seqserve.engine_setup import running_engine
from seqserve.engines.base import FloatArray
from seqserve.engines.embedded import EmbeddedModel
from seqserve.gateway import Gateway
from seqserve.native_front import graphs, library
from seqserve.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from support.gateway import settings_for_tests
from support.oip import infer_request, inference_stub, rows_of
from support.torchscript import IMAGES, digit_archive, eager

pytestmark = pytest.mark.skipif(bool(library.why_not()), reason=library.why_not())

CALLS, CALLERS = 200, 32
SWITCH_SECONDS = 1e-5
EXPECTED = eager(IMAGES)


@pytest.fixture(autouse=True)
def torch_threads() -> Iterator[None]:
    """One, as the engine sets it; not for a thread that has met torch before, such as this one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def hasty_switches() -> Iterator[None]:
    """The caller is in this process too: batches must not wait for Python's lock until they are slow."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads in which batches were computed."""
    names: list[str] = []
    compute = EmbeddedModel.compute

    def noted(self: EmbeddedModel, batch: FloatArray, out: FloatArray) -> None:
        names.append(threading.current_thread().name)
        compute(self, batch, out)

    monkeypatch.setattr(EmbeddedModel, "compute", noted)
    return names


@pytest.fixture
def without_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch goes by way of Python, as with a torch that the extension was not built for."""
    monkeypatch.setattr(graphs, "graph_reader", lambda: None)


@pytest.fixture
async def stub(tmp_path: Path, threads: list[str]) -> AsyncIterator[GRPCInferenceServiceStub]:
    """Of a gateway that serves `digit` with the native front."""
    digit_archive(tmp_path)
    archives = scan_store(tmp_path)
    settings = settings_for_tests(model_store=tmp_path, front="native")
    gateway = Gateway(settings)
    async with running_engine(settings, archives, gateway.engine_hooks) as engine:
        try:
            await gateway.start()
            await gateway.load(lambda: archives, engine)
            async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.grpc_port}") as channel:
                yield inference_stub(channel)
        finally:
            await gateway.drain()


async def ask(stub: GRPCInferenceServiceStub, image: int) -> None:
    """One image, whose answer must be its own."""
    image %= len(IMAGES)
    reply = await stub.ModelInfer(infer_request(IMAGES[image : image + 1], model="digit"))
    np.testing.assert_allclose(rows_of(reply), EXPECTED[image : image + 1], atol=1e-6)


@pytest.mark.usefixtures("without_graphs")
async def test_one_caller_after_the_other_is_answered_right_by_slots_and_then_by_the_front(
    stub: GRPCInferenceServiceStub, threads: list[str]
) -> None:
    for call in range(CALLS):
        await ask(stub, call)

    assert len(threads) == CALLS
    assert threads[0].startswith("compute-")
    assert not all(name.startswith("compute-") for name in threads)


@pytest.mark.usefixtures("without_graphs")
async def test_callers_at_once_are_answered_right_in_batches(
    stub: GRPCInferenceServiceStub, threads: list[str]
) -> None:
    async def call(caller: int) -> None:
        for each in range(CALLS // 8):
            await ask(stub, CALLERS * each + caller)

    await asyncio.gather(*map(call, range(CALLERS)))

    assert len(threads) < CALLERS * (CALLS // 8)


async def test_with_a_graph_no_batch_needs_python(stub: GRPCInferenceServiceStub, threads: list[str]) -> None:
    threads.clear()  # golden rows are asked for in Python

    for first in range(0, CALLS, CALLERS):
        await asyncio.gather(*[ask(stub, first + caller) for caller in range(CALLERS)])

    assert threads == []
