"""What tests of both engines need for a gateway whose models run in a TorchServe of its own."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Sequence
from typing import Any

import pytest

from seqserve.engines.torchserve.config import Layout
from support.descriptors import open_files
from support.faulty import Faulty
from support.running import children_of, command_of, until
from support.truth import MODEL

OWN_TORCHSERVE = "--engine=torchserve"
needs_torchserve = pytest.mark.skipif(
    importlib.util.find_spec("ts") is None, reason="the extra `torchserve` is not installed"
)
WORKER = "model_service_worker"


def on_each_front(*, short: int, long: int) -> Sequence[Any]:
    """Parameters `front` and `times` of a test that starts Java: a short form on one front, long ones on both."""
    return [
        pytest.param("python", short, id=f"torchserve-python-{short}"),
        *(
            pytest.param(front, long, id=f"torchserve-{front}-{long}", marks=pytest.mark.long)
            for front in ("python", "native")
        ),
    ]


def descriptors(faulty: Faulty) -> tuple[int, int]:
    """Of the gateway, and of its TorchServe's Java."""
    return faulty.descriptors(), open_files(faulty.torchserve["pid"])


def workers_of(java: int) -> int:
    """How many workers a TorchServe has."""
    count = 0
    for child in children_of(java):
        with contextlib.suppress(OSError):  # ended meanwhile
            count += WORKER in command_of(child)
    return count


async def until_alone(faulty: Faulty, layout: Layout, version: str) -> None:
    """Return when that version of MODEL is all that TorchServe has: registered, on disk, and as a process."""
    await until(lambda: [path.name for path in layout.model_store.iterdir()] == [f"{MODEL}-{version}.mar"])
    await until(lambda: workers_of(faulty.torchserve["pid"]) == 1)
    await until(lambda: len(list((layout.temporary / "models").iterdir())) == 1)
    listed = await faulty.manage("GET", "/models")
    versions = await faulty.manage("GET", f"/models/{MODEL}/all")
    assert [model["modelName"] for model in listed["models"]] == [MODEL]
    assert [found["modelVersion"] for found in versions] == [version]
