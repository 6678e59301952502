"""A container with TorchServe, and the slim gateway's before it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from support.agreement import assert_agree, eager, held_out
from support.container_engine import Engine
from support.container_images import Images
from support.containers import Container, logged, reading, started
from support.image_answers import MODEL, check_answers

pytestmark = pytest.mark.image

USER = 10001


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both containers see of each other: TorchServe's tokens lie there."""
    folder = tmp_path_factory.mktemp("shared")
    os.chown(folder, USER, USER)
    return folder


@pytest.fixture(scope="module")
def torchserve(engine: Engine, images: Images, store: Path, shared: Path) -> Iterator[Container]:
    image = images.name_of("torchserve")
    options = (f"--volume={shared}:/run/seqserve", "--memory=2g", *reading(store))
    with started(engine, image, "image-torchserve", *options) as running:
        running.wait_until_ready()
        yield running


def test_its_gateway_answers_as_the_module_does(torchserve: Container, store: Path) -> None:
    check_answers(torchserve, store)


def test_torchserve_itself_wants_a_token(torchserve: Container, store: Path, shared: Path) -> None:
    port = torchserve.ports["SEQSERVE_TORCHSERVE_HTTP_PORT"]
    url = f"http://127.0.0.1:{port}/predictions/{MODEL}"
    instances = (held_out(MODEL) / 255).tolist()
    key = json.loads((shared / "torchserve" / "key_file.json").read_text())["inference"]["key"]

    refused = httpx.post(url, json=instances)
    answered = httpx.post(url, json=instances, headers={"Authorization": f"Bearer {key}"}, timeout=60)

    assert refused.status_code == 400
    rows = [row["probabilities"] for row in answered.json()["predictions"]]
    assert_agree(np.array(rows, np.float32), eager(store, MODEL))


def test_a_slim_gateway_answers_through_it(
    engine: Engine, images: Images, torchserve: Container, store: Path, shared: Path
) -> None:
    image = images.name_of("gateway-slim")
    settings = {
        "SEQSERVE_TORCHSERVE_ADDRESS": f"127.0.0.1:{torchserve.ports['SEQSERVE_TORCHSERVE_GRPC_PORT']}",
        "SEQSERVE_TORCHSERVE_TOKEN_FILE": "/run/seqserve/torchserve/key_file.json",
    }
    options = (f"--volume={shared}:/run/seqserve:ro", "--memory=256m", *reading(store))
    with started(engine, image, "image-slim", *options, **settings) as slim:
        slim.wait_until_ready()
        check_answers(slim, store)
        has_torch = "import importlib.util; print(importlib.util.find_spec('torch') is not None)"
        assert slim.execute("python", "-c", has_torch) == "False"
        assert slim.stop() == 0


def test_it_drains(engine: Engine, images: Images, store: Path) -> None:
    options = ("--tmpfs=/run/seqserve", *reading(store))
    with started(engine, images.name_of("torchserve"), "image-torchserve-drain", *options) as running:
        running.wait_until_ready()

        assert running.stop() == 0
        assert [event["event"] for event in logged(running.logs())][-1] == "stopped"


def test_it_fails_when_torchserve_ends(engine: Engine, images: Images, store: Path) -> None:
    options = ("--tmpfs=/run/seqserve", *reading(store))
    with started(engine, images.name_of("torchserve"), "image-torchserve-killed", *options) as running:
        running.wait_until_ready()
        java = next(
            event["pid"] for event in logged(running.logs()) if event["event"] == "torchserve started"
        )
        running.execute("sh", "-c", f"kill -9 {java}")

        assert running.wait_until_ended() == 1
        assert "TorchServe ended" in running.logs()
