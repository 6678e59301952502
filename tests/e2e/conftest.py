"""Stores that are built once, one of them by the real command, and gateways that serve them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bench.building import NotBuilt, Programs, build_programs
from seqserve.native_front import library
from seqserve_models.build import build
from seqserve_models.plan import BuildSettings
from support.digits import Digits, write_digits
from support.faults import VERSIONS, Faults, sharing
from support.faulty import Faulty, asked
from support.forked import forked_interpreters
from support.guarded import Guarded, guarding
from support.served import Served, run, serving


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """digit_mlp 1, trained for a moment. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("built") / "model-store"
    built = run("build", "digit_mlp", "--epochs", "8", "--output", folder)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="session")
def programs() -> Programs:
    """The benchmark's C++ programs; what needs them is skipped where they cannot be built."""
    try:
        return build_programs()
    except NotBuilt as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def two_lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a small model. Tests leave them as they are."""
    folder = tmp_path_factory.mktemp("lines")
    with forked_interpreters(folder):
        for _ in range(2):
            build(["line"], BuildSettings(output=folder / "model-store", epochs=1))
    return folder / "model-store"


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Iterator[Served]:
    """Serves the store with the embedded engine, for tests that do it no harm."""
    with serving(tmp_path_factory.mktemp("gateway"), store) as running:
        yield running


@pytest.fixture(scope="session")
def open_gateway(tmp_path_factory: pytest.TempPathFactory, store: Path, two_lines: Path) -> Iterator[Served]:
    """For clients that others wrote: a straight line beside the digits, repository control, a health port."""
    folder = tmp_path_factory.mktemp("open")
    both = shutil.copytree(store, folder / "model-store")
    for suffix in (".mar", ".mar.sha256"):
        shutil.copy(two_lines / f"line-1{suffix}", both)
    with serving(folder, both, "--health-port=0", "--admin-on-inference-port") as running:
        yield running


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Digits:
    """Held-out digits, for clients that others wrote."""
    return write_digits(tmp_path_factory.mktemp("digits"), store / "digit_mlp-1.mar")


@pytest.fixture(scope="module", params=["python", pytest.param("native", marks=pytest.mark.long)])
def faults(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faults]:
    """A gateway over a real TorchServe, for tests that hurt it and wait until it has recovered."""
    if request.param == "native" and (why := library.why_not()):
        pytest.skip(why)
    with sharing(tmp_path_factory.mktemp("faults"), request.param) as shared:
        yield shared


@pytest.fixture
async def faulty(faults: Faults) -> AsyncIterator[Faulty]:
    """The same, whole, as it is seen from the event loop of a test."""
    async with asked(faults.served, faults.tokens) as seen:
        await seen.until_ready(*VERSIONS)
        yield seen


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Iterator[Guarded]:
    """Serves the store to those alone who show a certificate and a token."""
    with guarding(tmp_path_factory.mktemp("guarded"), store) as running:
        yield running
