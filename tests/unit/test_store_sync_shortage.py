"""Archives that meet a gateway without files or threads: they are not to blame, and are loaded once there are some."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from seqserve.shortage import NO_THREAD
from seqserve.trust import Trust
from support.stores import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def no_file(*_: object) -> int:
    """As open(2) of a process that has as many as it may."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def no_thread(*_: object) -> tuple[int, ...]:
    raise RuntimeError(NO_THREAD)


async def test_an_archive_that_no_file_was_left_to_read_is_loaded_once_there_is_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add("1")
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", no_file)
        await world.sync.load_initially()
    assert world.states == {"tiny/1": "failed"}
    assert world.sync.has_to_try_again
    assert not world.notes.reloads, "nothing was refused"

    await world.sync.sync()

    assert world.states == {"tiny/1": "ready"}


@pytest.mark.parametrize(
    "error", [RuntimeError(NO_THREAD), OSError(errno.EMFILE, os.strerror(errno.EMFILE))], ids=["thread", "file"]
)  # fmt: skip
async def test_an_engine_that_finds_none_loads_it_once_there_is_one(world: World, error: Exception) -> None:
    world.add("1")
    world.engine.load_faults["tiny/1"] = error
    await world.sync.load_initially()
    world.engine.load_faults.clear()
    await world.sync.sync()

    assert world.states == {"tiny/1": "ready"}


async def test_one_that_was_not_even_begun_with_is_not_taken_for_tried(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add("1")
    with monkeypatch.context() as patched:
        patched.setattr(Trust, "stamp", no_thread)
        with pytest.raises(RuntimeError, match=NO_THREAD):
            await world.sync.load_initially()
    await world.sync.sync()

    assert world.states == {"tiny/1": "ready"}
