"""A container with TorchServe, and the slim gateway's before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from support.agreement import assert_agree, eager, held_out
from support.container_engine import Engine
from support.container_images import Images, say
from support.containers import (
    POLL_SECONDS,
    START_SECONDS,
    Container,
    answers,
    logged,
    reading,
    sharing_token,
    started,
    torchserve_of,
)
from support.image_answers import MODEL, check_answers

pytestmark = pytest.mark.image


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both containers see of each other: TorchServe's inference token."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def torchserve(engine: Engine, images: Images, store: Path, shared: Path) -> Iterator[Container]:
    image = images.name_of("torchserve")
    options = (*sharing_token(shared), "--memory=2g", "--pids-limit=1024", *reading(store))
    with started(engine, image, "image-torchserve", *options) as running:
        running.wait_until_ready()
        yield running


def test_its_gateway_answers_as_the_module_does(torchserve: Container, store: Path) -> None:
    check_answers(torchserve, store)


def test_torchserve_itself_wants_a_token(torchserve: Container, store: Path, shared: Path) -> None:
    port = torchserve.ports["SEQSERVE_TORCHSERVE_HTTP_PORT"]
    url = f"http://127.0.0.1:{port}/predictions/{MODEL}"
    instances = (held_out(MODEL) / 255).tolist()
    key = (shared / "inference_token").read_text().strip()

    refused = httpx.post(url, json=instances)
    answered = httpx.post(url, json=instances, headers={"Authorization": f"Bearer {key}"}, timeout=60)

    assert refused.status_code == 400
    rows = [row["probabilities"] for row in answered.json()["predictions"]]
    assert_agree(np.array(rows, np.float32), eager(store, MODEL))


def test_a_slim_gateway_answers_through_it(
    engine: Engine, images: Images, torchserve: Container, store: Path, shared: Path
) -> None:
    image = images.name_of("gateway-slim")
    options = (*sharing_token(shared, ":ro"), "--memory=256m", *reading(store))
    settings = torchserve_of(torchserve)
    with started(engine, image, "image-slim", *options, **settings) as slim:
        slim.wait_until_ready()
        check_answers(slim, store)
        has_torch = "import importlib.util; print(importlib.util.find_spec('torch') is not None)"
        assert slim.execute("python", "-c", has_torch) == "False"
        assert slim.execute("ls", "-A", "/run/seqserve") == "inference_token"


def test_it_fails_when_torchserve_ends(engine: Engine, images: Images, store: Path) -> None:
    options = ("--tmpfs=/run/seqserve", *reading(store))
    with started(engine, images.name_of("torchserve"), "image-torchserve-killed", *options) as running:
        running.wait_until_ready()
        kill_java(running)

        assert running.wait_until_ended() == 1
        assert "TorchServe ended" in running.logs()


def test_who_restarts_containers_has_it_serve_again(engine: Engine, images: Images, store: Path) -> None:
    options = ("--tmpfs=/run/seqserve", "--restart=always", *reading(store))
    with started(engine, images.name_of("torchserve"), "image-torchserve-again", *options) as running:
        running.wait_until_ready()
        kill_java(running)
        killed = time.monotonic()

        until(lambda: len(java_of(running)) > 1 and answers(f"{running.http}/readyz"), running)
        say(f"torchserve: ready again {time.monotonic() - killed:.0f} s after its Java was killed")
        check_answers(running, store)


def java_of(running: Container) -> list[object]:
    """Process ids, one for each start."""
    return [event["pid"] for event in logged(running.logs()) if event["event"] == "torchserve started"]


def kill_java(running: Container) -> None:
    running.execute("sh", "-c", f"kill -9 {java_of(running)[-1]}")


def until(condition: Callable[[], bool], running: Container) -> None:
    """Return when it holds, whether the container runs or not."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, running.logs()
        time.sleep(POLL_SECONDS)
