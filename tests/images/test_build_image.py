"""The image that trains: into a volume, which a gateway serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.container_engine import Engine
from support.container_images import Images
from support.containers import run_to_its_end, started
from support.image_answers import MODEL, check_answers

pytestmark = pytest.mark.image

VOLUME = "image-models"


@pytest.fixture
def volume(engine: Engine) -> Iterator[Path]:
    """An empty volume: where its files lie on this machine."""
    engine.run("podman", "volume", "rm", "--force", VOLUME, check=False)
    engine.run("podman", "volume", "create", VOLUME)
    yield Path(engine.ask("podman", "volume", "inspect", "--format", "{{.Mountpoint}}", VOLUME))
    engine.run("podman", "volume", "rm", "--force", VOLUME)


def test_it_trains_into_a_volume_that_a_gateway_serves(engine: Engine, images: Images, volume: Path) -> None:
    image, gateway = images.name_of("build"), images.name_of("gateway")
    command = ("build", MODEL, "--epochs", "8", "--output", "/models")

    said = run_to_its_end(engine, image, f"--volume={VOLUME}:/models", command=command)

    assert f"{MODEL}-1.mar" in said
    with started(engine, gateway, "image-built", f"--volume={VOLUME}:/models:ro") as running:
        running.wait_until_ready()
        check_answers(running, volume)
