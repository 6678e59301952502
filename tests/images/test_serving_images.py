"""What every image that serves does: its health check, and what a stop leaves undone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.agreement import held_out, over_grpc
from support.container_engine import Engine
from support.container_images import Images, health_check
from support.containers import Container, logged, reading, sharing_token, started, torchserve_of
from support.image_answers import MODEL

pytestmark = pytest.mark.image

DELAY_SECONDS = "5"
"""So long the engine waits for a fuller batch: time to see a call in flight, and to stop the container."""


@pytest.fixture(scope="module")
def torchserve(
    engine: Engine, images: Images, store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Container, Path]]:
    """What a slim gateway stands before, and where its token lies."""
    shared = tmp_path_factory.mktemp("shared")
    options = (*sharing_token(shared), *reading(store))
    with started(engine, images.name_of("torchserve"), "image-torchserve-behind", *options) as behind:
        behind.wait_until_ready()
        yield behind, shared


@pytest.mark.parametrize("target", ["gateway", "gateway-slim", "torchserve"])
def test_it_is_healthy_and_what_is_in_flight_is_answered_before_it_ends(
    target: str, engine: Engine, images: Images, store: Path, request: pytest.FixtureRequest
) -> None:
    options, settings = ["--tmpfs=/run/seqserve", *reading(store)], {}
    if target == "gateway-slim":
        behind, shared = request.getfixturevalue("torchserve")
        options, settings = [*sharing_token(shared, ":ro"), *reading(store)], torchserve_of(behind)
    settings["SEQSERVE_MAX_QUEUE_DELAY_SECONDS"] = DELAY_SECONDS

    with serving(engine, images.name_of(target), f"image-{target}-drain", *options, **settings) as running:
        assert running.execute(*health_check()) == "SERVING"
        with ThreadPoolExecutor() as threads:
            reply = threads.submit(over_grpc, running, MODEL, held_out(MODEL)[:1])
            running.wait_until_in_flight()
            assert not reply.done()
            status = running.stop()

            assert status == 0
            assert reply.result().model_name == MODEL
        events = [event["event"] for event in logged(running.logs())]
        assert "draining" in events
        assert events[-1] == "stopped"


@contextmanager
def serving(engine: Engine, image: str, name: str, *options: str, **settings: str) -> Iterator[Container]:
    with started(engine, image, name, *options, **settings) as running:
        running.wait_until_ready()
        yield running
