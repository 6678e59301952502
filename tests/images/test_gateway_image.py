"""The gateway's image: its native front, its labels, and that it answers."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.agreement import held_out, over_grpc
from support.container_engine import Engine
from support.container_images import ROOT, Images, inspected
from support.containers import Container, logged, reading, started
from support.image_answers import MODEL, check_answers

pytestmark = pytest.mark.image


@pytest.fixture(scope="module")
def gateway(engine: Engine, images: Images, store: Path) -> Iterator[Container]:
    image = images.name_of("gateway")
    with started(engine, image, "image-gateway", "--memory=1g", *reading(store)) as running:
        running.wait_until_ready()
        yield running


def test_it_answers_as_the_module_does(gateway: Container, store: Path) -> None:
    check_answers(gateway, store)


def test_the_native_front_answers_and_computes_without_python(gateway: Container) -> None:
    for _ in range(2):
        over_grpc(gateway, MODEL, held_out(MODEL)[:1])
    events = {event["event"]: event for event in logged(gateway.logs())}

    assert events["listening"]["front"] == "native"
    assert "batches run by way of Python" not in events
    assert 'front="native"' in httpx.get(f"{gateway.http}/metrics").text


def test_its_labels_say_what_it_is(gateway: Container, engine: Engine) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = inspected(engine, "gateway")["Config"]["Labels"]

    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    assert gateway.execute("seqserve", "--version").endswith(project["version"])
