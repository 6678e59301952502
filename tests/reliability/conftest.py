"""Real gateways on each front, over models whose right answers are known."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from seqserve.native_front import library
from soak.truth import put_version
from support.paced import put_paced


@pytest.fixture(scope="session", params=["python", "native"])
def front(request: pytest.FixtureRequest) -> str:
    """What answers gRPC; the native one where it is built."""
    name: str = request.param
    if name == "native" and (why := library.why_not()):
        pytest.skip(why)
    return name


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`digit` 1, and `paced` 1, which takes some milliseconds a batch. Tests leave them as they are."""
    folder = tmp_path_factory.mktemp("models")
    put_version(folder, "1")
    put_paced(folder)
    return folder


@pytest.fixture
def store(tmp_path: Path, models: Path) -> Path:
    """A copy of them, for tests that change it."""
    return shutil.copytree(models, tmp_path / "store")
