"""What a running gateway serves cannot be pruned; what it served until it ended, in whatever way, can."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from support.served import run, serving


@pytest.fixture
def store(tmp_path: Path, two_lines: Path) -> Path:
    """A copy of them, to be pruned."""
    return shutil.copytree(two_lines, tmp_path / "model-store")


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
