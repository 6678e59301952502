"""The inference token of a managed TorchServe, in a file for others."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from seqserve.engines.torchserve.shared_token import SharedToken
from seqserve.errors import EngineUnavailable, SettingsInvalid
from support.running import until

SOME_LOOKS_SECONDS = 0.2


def write_keys(path: Path, inference: str) -> None:
    """As TorchServe does: in place."""
    keys = {"management": {"key": "m-secret"}, "inference": {"key": inference}, "API": {"key": "a-secret"}}
    path.write_text(json.dumps(keys))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "key_file.json"
    write_keys(file, "i-1")
    return file


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """In a folder of its own."""
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder / "inference_token"


@asynccontextmanager
async def sharing(keys: Path, path: Path) -> AsyncIterator[None]:
    task = asyncio.create_task(SharedToken(keys, path).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_it_is(path: Path, token: str) -> None:
    await until(lambda: text_of(path) == f"{token}\n")


def damage(keys: Path) -> None:
    """Half of it is written."""
    keys.write_text('{"inference": {"ke')


def remove_folder(path: Path) -> None:
    """With the file in it."""
    path.unlink()
    path.parent.rmdir()


def make_folder(path: Path) -> None:
    """For the file."""
    path.parent.mkdir()


def text_of(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def test_it_holds_the_inference_token_and_no_other_key(keys: Path, shared: Path) -> None:
    SharedToken(keys, shared).share()

    assert shared.read_text() == "i-1\n"
    assert stat.S_IMODE(shared.stat().st_mode) == 0o600
    assert [path.name for path in shared.parent.iterdir()] == ["inference_token"]


def test_it_replaces_the_file_so_that_nobody_reads_half_of_it(keys: Path, shared: Path) -> None:
    shared.write_text("of another TorchServe\n" * 9)
    shared.chmod(0o644)
    with shared.open() as reader:
        SharedToken(keys, shared).share()

        assert reader.read().startswith("of another")
    assert shared.read_text() == "i-1\n"
    assert stat.S_IMODE(shared.stat().st_mode) == 0o600


async def test_each_new_token_is_shared_and_in_the_end_none_is_there(keys: Path, shared: Path) -> None:
    async with sharing(keys, shared):
        for token in ("i-1", "i-2", "i-3"):
            write_keys(keys, token)
            await until_it_is(shared, token)

    assert text_of(shared) is None


async def test_a_key_file_that_is_just_being_written_does_no_harm(keys: Path, shared: Path) -> None:
    async with sharing(keys, shared):
        await until_it_is(shared, "i-1")
        damage(keys)
        await asyncio.sleep(SOME_LOOKS_SECONDS)
        assert text_of(shared) == "i-1\n"
        write_keys(keys, "i-2")
        await until_it_is(shared, "i-2")


def test_before_there_is_a_token_there_is_none_to_share(tmp_path: Path, shared: Path) -> None:
    with pytest.raises(EngineUnavailable):
        SharedToken(tmp_path / "key_file.json", shared).share()


def test_a_folder_that_is_not_there_is_named(keys: Path, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "inference_token"

    with pytest.raises(SettingsInvalid, match=f"torchserve_share_token: {path}: No such file or directory"):
        SharedToken(keys, path).share()


async def test_a_folder_that_goes_is_told_once_and_taken_up_again(keys: Path, shared: Path) -> None:
    with capture_logs() as logs:
        async with sharing(keys, shared):
            await until_it_is(shared, "i-1")
            remove_folder(shared)
            write_keys(keys, "i-2")
            await until(lambda: logs)
            await asyncio.sleep(SOME_LOOKS_SECONDS)
            make_folder(shared)
            await until_it_is(shared, "i-2")

    assert [entry["event"] for entry in logs] == ["torchserve token not shared"]
    assert "i-2" not in str(logs)
