"""Real gateways on each front, over models whose right answers are known."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqserve.native_front import library
from support.own_torchserve import needs_torchserve
from support.paced import put_paced
from support.truth import put_version

LIMIT_SECONDS = 1800
"""Of one test, the longest of which take ten minutes on a busy machine."""


@pytest.fixture(autouse=True)
def what_never_comes_is_not_waited_for() -> Iterator[None]:
    """These tests wait by condition: one that does not come to hold ends its test, and not the whole run."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"not over after {LIMIT_SECONDS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LIMIT_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session", params=["python", "native"])
def front(request: pytest.FixtureRequest) -> str:
    """What answers gRPC; the native one where it is built."""
    name: str = request.param
    if name == "native" and (why := library.why_not()):
        pytest.skip(why)
    return name


@pytest.fixture(
    scope="session",
    params=["embedded", pytest.param("torchserve", marks=[pytest.mark.long, needs_torchserve])],
)
def engine(request: pytest.FixtureRequest) -> str:
    """What runs the models; TorchServe where the test may take long."""
    name: str = request.param
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
