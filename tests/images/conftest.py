"""The images, each built once, and a store that they serve. Skipped, with the reason, where they cannot be built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.container_engine import Engine, NotHere, running_engine
from support.container_images import ROOT, Images, make_base, say
from support.required import skip_or_fail, skipped_line
from support.served import run

KEPT = ROOT / "build" / "images"
"""Base and layers: what has not changed is not built again."""


def pytest_unconfigure(config: pytest.Config) -> None:
    """A run that tested nothing is green: it says so in its last line."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and (line := skipped_line("image", reporter.stats)):
        say(line)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """With the base image in its storage."""
    try:
        with running_engine(KEPT / "storage") as running:
            make_base(running, KEPT)
            yield running
    except NotHere as reason:
        skip_or_fail("image", str(reason))


@pytest.fixture(scope="session")
def images(engine: Engine) -> Images:
    """Of this commit's Dockerfile."""
    return Images(engine, KEPT, set())


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """digit_mlp 1, trained for a moment. Nobody writes there."""
    folder = tmp_path_factory.mktemp("built") / "model-store"
    built = run("build", "digit_mlp", "--epochs", "8", "--output", folder)
    assert built.returncode == 0, built.stderr
    return folder
