"""What a running gateway serves cannot be pruned; what it served until it was killed can."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.served import run, serving


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two versions of a small model."""
    folder = tmp_path / "model-store"
    for _ in range(2):
        assert run("build", "line", "--epochs", "1", "--output", folder).returncode == 0
    return folder


def prune(store: Path) -> str:
    done = run("store", "prune", "--keep", "1", "--model-store", store)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_served_version_is_pruned_only_after_its_gateway(tmp_path: Path, store: Path) -> None:
    with serving(tmp_path, store) as gateway:
        listed = run("store", "list", "--model-store", store).stdout
        assert listed.count(" yes ") == 2
        assert "kept" in prune(store)
        assert (store / "line-1.mar").exists()
        gateway.process.kill()
        gateway.process.wait()
    assert "removed 1 archives" in prune(store)
    assert {path.name.split(".")[0] for path in store.iterdir()} == {"line-2"}
