"""One model store, built once by the real command, and one gateway that serves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.served import Served, run, serving


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """digit_mlp 1, trained for a moment. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("built") / "model-store"
    built = run("build", "digit_mlp", "--epochs", "8", "--output", folder)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Iterator[Served]:
    """Serves the store with the embedded engine, for tests that do it no harm."""
    with serving(tmp_path_factory.mktemp("gateway"), store) as running:
        yield running
