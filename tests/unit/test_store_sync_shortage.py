"""Archives that meet a gateway without files or threads: they are not to blame, and are loaded once there are some."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from seqserve import trust
from seqserve.repository import loading
from seqserve.shortage import NO_THREAD
from seqserve.trust import Trust
from support.stores import World

NO_FILES = os.strerror(errno.EMFILE)
Without = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def without_files(monkeypatch: pytest.MonkeyPatch) -> Without:
    """As in a process that has as many open files as it may."""

    def no_file(*_: object) -> int:
        raise OSError(errno.EMFILE, NO_FILES)

    return lambda: _patched(monkeypatch, os, "open", no_file)


@pytest.fixture
def without_threads(monkeypatch: pytest.MonkeyPatch) -> Without:
    """As in one that has as many threads as it may."""

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError(NO_THREAD)

    return lambda: _patched(monkeypatch, threading.Thread, "start", no_thread)


@contextmanager
def _patched(monkeypatch: pytest.MonkeyPatch, what: object, name: str, value: object) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(what, name, value)
        yield


async def test_an_archive_that_no_file_was_left_to_read_is_loaded_once_there_is_one(
    world: World, without_files: Without
) -> None:
    world.add("1")
    with without_files(), capture_logs() as logs:
        await world.sync.load_initially()
        await world.sync.sync()
    assert world.states == {"tiny/1": "failed"}
    assert world.repository.versions()[0].reason == "RESOURCE_SHORTAGE"
    assert world.sync.has_to_try_again
    assert not world.notes.reloads, "nothing was refused"
    assert [(log["event"], log["reason"]) for log in logs] == [
        ("model waits for files or threads", f"the gateway itself met: {NO_FILES}")
    ]

    await world.sync.sync()

    assert world.states == {"tiny/1": "ready"}


async def test_one_that_could_not_be_locked_for_want_of_files_is_not_served_without_a_lock(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add("1")

    def no_file(path: Path) -> object:
        raise OSError(errno.EMFILE, NO_FILES)

    with _patched(monkeypatch, loading, "hold", no_file):
        await world.sync.load_initially()
    assert world.states == {"tiny/1": "failed"}
    await world.sync.sync()

    assert world.states == {"tiny/1": "ready"}


@pytest.mark.parametrize(
    "error", [RuntimeError(NO_THREAD), OSError(errno.EMFILE, NO_FILES)], ids=["thread", "file"]
)
async def test_an_engine_that_finds_none_loads_it_once_there_is_one(world: World, error: Exception) -> None:
    world.add("1")
    world.engine.load_faults["tiny/1"] = error
    await world.sync.load_initially()
    world.engine.load_faults.clear()
    await world.sync.sync()

    assert world.states == {"tiny/1": "ready"}


async def test_a_look_that_no_thread_is_left_for_forgets_nobody(
    tmp_path: Path, without_threads: Without
) -> None:
    """Neither who waits nor who has just come."""
    world = World(tmp_path)
    await world.sync.load_initially()
    world.add("1", "waiting")
    world.engine.load_faults["waiting/1"] = OSError(errno.EMFILE, NO_FILES)
    await world.sync.sync()
    world.add("1", "new")
    world.engine.load_faults.clear()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
    with without_threads(), pytest.raises(RuntimeError, match=NO_THREAD):
        await world.sync.sync()
    assert world.sync.has_to_try_again
    await world.sync.sync()

    assert world.states == {"new/1": "ready", "waiting/1": "ready"}


async def test_nor_does_one_that_gets_as_far_as_to_the_first_of_two_archives(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.sync.load_initially()
    world.add("1", "waiting")
    world.engine.load_faults["waiting/1"] = OSError(errno.EMFILE, NO_FILES)
    await world.sync.sync()
    world.add("1", "new")
    world.engine.load_faults.clear()

    def no_thread(_: Trust) -> object:
        raise RuntimeError(NO_THREAD)

    with _patched(monkeypatch, Trust, "stamp", no_thread), pytest.raises(RuntimeError, match=NO_THREAD):
        await world.sync.sync()
    assert world.sync.has_to_try_again
    await world.sync.sync()

    assert world.states == {"new/1": "ready", "waiting/1": "ready"}


async def test_whether_other_bytes_came_is_not_told_of_bytes_that_could_not_be_read(
    world: World, without_files: Without
) -> None:
    path = world.add("1")
    await world.sync.load_initially()
    os.utime(path, (1, 1))
    with without_files(), capture_logs() as logs, pytest.raises(OSError, match=NO_FILES):
        await world.sync.sync()
    assert not logs
    path.write_bytes(b"other bytes")
    await world.sync.sync()

    assert world.states == {"tiny/1": "ready"}
    assert world.notes.reloads == [("tiny", "loaded"), ("tiny", "refused")]


async def test_who_may_serve_without_an_attestation_is_not_taken_for_one_where_it_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, trust=Trust("warn", tmp_path / "keys"))
    world.add("1")

    def no_file(*_: object) -> bytes:
        raise OSError(errno.EMFILE, NO_FILES)

    with _patched(monkeypatch, trust, "read_regular", no_file):
        await world.sync.load_initially()
    assert world.states == {"tiny/1": "failed"}
    with capture_logs() as logs:
        await world.sync.sync()

    assert world.states == {"tiny/1": "ready"}
    assert [log["event"] for log in logs] == ["archive without a trusted attestation", "model ready"]
