"""What a running gateway serves cannot be pruned; what it served until it ended, in whatever way, can."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from support.served import run, serving


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a small model. Tests leave them as they are."""
    folder = tmp_path_factory.mktemp("built") / "model-store"
    for _ in range(2):
        done = run("build", "line", "--epochs", "1", "--output", folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def store(tmp_path: Path, built: Path) -> Path:
    """A copy of them, to be pruned."""
    return shutil.copytree(built, tmp_path / "model-store")


def prune(store: Path) -> str:
    done = run("store", "prune", "--keep", "1", "--model-store", store)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_served_version_is_pruned_only_after_its_gateway(
    tmp_path: Path, store: Path, number: signal.Signals
) -> None:
    before = set(store.iterdir())
    with serving(tmp_path, store) as gateway:
        listed = run("store", "list", "--model-store", store).stdout
        assert listed.count(" yes ") == 2
        assert f"kept {store / 'line-1.mar'}: a gateway serves it" in prune(store)
        assert set(store.iterdir()) == before
        gateway.end(number)
    assert f"removed {store / 'line-1.mar'}\n" in prune(store)
    assert {path.name.split(".")[0] for path in store.iterdir()} == {"line-2"}
    assert run("store", "verify", "--model-store", store).returncode == 0
