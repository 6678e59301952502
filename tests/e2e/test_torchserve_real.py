"""A real TorchServe, started, used, hurt and stopped."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import os
import signal
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import pytest_asyncio
import torch
from torch import nn

from seqserve.archive import Archive, read_archive
from seqserve.engine_setup import Unheard
from seqserve.engines.torchserve.config import TorchServePorts, TorchServeSettings
from seqserve.engines.torchserve.endpoint import TorchServeEndpoint
from seqserve.engines.torchserve.engine import TorchServeEngine
from seqserve.engines.torchserve.model import TorchServeModel
from seqserve.engines.torchserve.server import TorchServeServer
from seqserve.errors import EngineUnavailable
from seqserve.golden import check_golden
from seqserve.signature import Signature
from seqserve.trust import UNCHECKED
from seqserve_models import handler
from support.archives import FloatArray, make_archive
from support.contract import signature_document
from support.running import family, is_running, one_of, until

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        importlib.util.find_spec("ts") is None, reason="the extra `torchserve` is not installed"
    ),
]
SETTINGS = TorchServeSettings(ports=TorchServePorts(0, 0, 0, 0, 0))
DIGIT = Signature.parse(signature_document("digit"))
IMAGES = np.random.default_rng(7).random((256, 784), dtype=np.float32)


@dataclass
class Running:
    """A TorchServe with versions 1 and 2 of one model."""

    endpoint: TorchServeEndpoint
    engine: TorchServeEngine
    archives: dict[str, Archive]
    models: dict[str, TorchServeModel]


def network(version: str) -> nn.Sequential:
    """Other weights for each version."""
    torch.manual_seed(int(version))
    return nn.Sequential(nn.Linear(784, 10), nn.Softmax(dim=-1)).eval()


def eager(version: str, images: FloatArray) -> FloatArray:
    with torch.inference_mode():
        rows: FloatArray = network(version)(torch.from_numpy(images)).numpy()
    return rows


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def archive(folder: Path, version: str) -> Archive:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(network(version)), buffer)
    golden = IMAGES[:8], eager(version, IMAGES[:8])
    members = {"digit.pt": buffer.getvalue(), "handler.py": Path(handler.__file__).read_bytes()}
    return read_archive(
        make_archive(folder, "digit", version, signature=DIGIT, golden=golden, replace=members), UNCHECKED
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    server = TorchServeServer(SETTINGS)
    endpoint = await server.start()
    engine = TorchServeEngine(endpoint, Unheard())
    archives = {version: archive(tmp_path_factory.mktemp("store"), version) for version in ("1", "2")}
    try:
        yield Running(
            endpoint, engine, archives, {key: await engine.load(it) for key, it in archives.items()}
        )
    finally:
        await engine.aclose()
        await server.stop()


@pytest.mark.parametrize("version", ["1", "2"])
async def test_each_version_agrees_with_its_golden_rows(running: Running, version: str) -> None:
    delta = await check_golden(running.archives[version], running.models[version], running.engine.device)

    assert delta <= 1e-5


async def test_a_full_batch_is_answered_row_by_row(running: Running) -> None:
    rows = await running.models["1"].infer(IMAGES)

    assert rows.shape == (256, 10)
    assert np.allclose(rows, eager("1", IMAGES), rtol=1e-5, atol=1e-5)


async def test_http_users_are_answered_by_the_highest_version(running: Running) -> None:
    async with httpx.AsyncClient(base_url=running.endpoint.inference_url) as http:
        reply = await http.post(
            "/predictions/digit",
            content=json.dumps(IMAGES[0].tolist()),
            headers={
                "Authorization": f"Bearer {running.endpoint.tokens.inference()}",
                "Content-Type": "application/json",
            },
        )

    assert reply.status_code == 200
    assert reply.json()["model_version"] == "2"
    [prediction] = reply.json()["predictions"]
    assert np.allclose(prediction["probabilities"], eager("2", IMAGES[:1])[0], rtol=1e-5, atol=1e-5)


async def test_nobody_gets_in_without_a_token(running: Running) -> None:
    async with httpx.AsyncClient() as http:
        inference = await http.post(f"{running.endpoint.inference_url}/predictions/digit", content=b"[]")
        management = await http.get(f"{running.endpoint.management_url}/models")

    assert inference.status_code == management.status_code == 400


async def test_tokens_renewed_by_an_operator_do_not_lock_us_out(running: Running) -> None:
    api_key = json.loads((running.endpoint.model_store.parent / "key_file.json").read_bytes())["API"]["key"]
    async with httpx.AsyncClient(base_url=running.endpoint.management_url) as http:
        renewal = await http.get(
            "/token", params={"type": "inference"}, headers={"Authorization": f"Bearer {api_key}"}
        )
    assert renewal.status_code == 200

    assert (await running.models["1"].infer(IMAGES[:1])).shape == (1, 10)


async def test_predictions_are_back_after_a_worker_was_killed(running: Running) -> None:
    os.kill(one_of(family(), "model_service_worker"), signal.SIGKILL)

    for model in running.models.values():
        rows = await answer_when_back(model)
        assert rows.shape == (1, 10)


async def answer_when_back(model: TorchServeModel) -> FloatArray:
    async with asyncio.timeout(30):
        while True:
            try:
                return await model.infer(IMAGES[:1])
            except EngineUnavailable:
                await asyncio.sleep(0.1)


async def test_stopping_leaves_no_program_and_no_folder(tmp_path: Path) -> None:
    before = family()
    server = TorchServeServer(SETTINGS)
    endpoint = await server.start()
    engine = TorchServeEngine(endpoint, Unheard())
    model = await engine.load(archive(tmp_path, "1"))
    ours = family() - before
    assert len(ours) == 3  # the leash's holder, Java, one worker
    await model.unload()
    await engine.aclose()

    await server.stop()

    assert not server.is_running
    assert not any(is_running(member) for member in ours)
    assert not endpoint.model_store.parent.exists()


async def test_a_crash_is_seen_and_a_named_folder_keeps_only_its_logs(tmp_path: Path) -> None:
    folder = tmp_path / "torchserve"
    before = family()
    server = TorchServeServer(TorchServeSettings(folder=folder, ports=SETTINGS.ports))
    await server.start()
    assert server.is_running

    os.kill(one_of(family() - before, "/bin/java"), signal.SIGKILL)

    await until(lambda: not server.is_running)
    await server.stop()
    assert files_in(folder) == {"lock", "logs", "logs/console.log", "logs/torchserve.log"}
