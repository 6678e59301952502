"""The store is followed, and an archive whose engine was away is not left waiting."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from structlog.testing import capture_logs

from seqserve.errors import EngineUnavailable
from seqserve.repository.following import AGAIN_SECONDS, Following
from seqserve.repository.table import Repository
from support.archives import make_archive
from support.engines import FakeEngine
from support.repositories import store_sync
from support.running import until
from support.time import FakeTime

AWAY = EngineUnavailable("away")


@dataclass
class World:
    """A followed store that is watched by nobody, as with watch=off, and time."""

    archives: list[Path]
    engine: FakeEngine = field(default_factory=FakeEngine)
    repository: Repository = field(default_factory=Repository)
    time: FakeTime = field(default_factory=FakeTime)
    looks: int = 0

    def __post_init__(self) -> None:
        self.sync = store_sync(self.repository, lambda: self.archives, self.engine)
        self.following = Following(self.sync, self.no_changes, self.count, sleep=self.time.sleep)

    async def no_changes(self) -> AsyncIterator[None]:
        return
        yield

    def count(self) -> None:
        self.looks += 1

    async def look_after(self, seconds: float) -> None:
        """Let time pass, and the look that is due for it be taken."""
        looks = self.looks
        await self.time.pass_by(seconds)
        await until(lambda: self.looks > looks)


async def test_an_engine_that_is_away_is_asked_again_also_where_nobody_watches(tmp_path: Path) -> None:
    world = World([make_archive(tmp_path)])
    world.engine.load_faults["tiny/1"] = AWAY
    await world.sync.load_initially()
    following = asyncio.create_task(world.following.run())
    await world.time.pass_by(0.0)
    for _ in range(3):
        await world.look_after(AGAIN_SECONDS)
    assert len(world.engine.loads) == 4, "once at the start, and once each time"

    world.engine.load_faults.clear()
    await world.look_after(AGAIN_SECONDS)
    assert world.repository.is_ready("tiny", "")
    looks = world.looks
    for _ in range(5):
        await world.time.pass_by(AGAIN_SECONDS)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)

    assert world.looks == looks, "nobody waits any more"
    assert world.time.pending() == []


async def test_other_looks_do_not_make_it_ask_more_often(tmp_path: Path) -> None:
    world = World([make_archive(tmp_path)])
    world.engine.load_faults["tiny/1"] = AWAY
    await world.sync.load_initially()
    following = asyncio.create_task(world.following.run())
    await world.time.pass_by(0.0)
    for _ in range(5):
        await world.following.look()

    assert len(world.time.pending()) == 1
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_store_that_cannot_be_read_for_want_of_files_is_told_once_and_looked_at_again(
    tmp_path: Path,
) -> None:
    world = World([make_archive(tmp_path)])
    listed = world.sync.list_archives

    def no_file() -> list[Path]:
        raise OSError(errno.EMFILE, "Too many open files")

    world.sync.list_archives = no_file
    with capture_logs() as logs:
        for _ in range(3):
            await world.following.look()
        world.sync.list_archives = listed
        await world.following.look()

    assert world.repository.is_ready("tiny", "")
    assert [log["event"] for log in logs] == [
        "the store is away; what is loaded serves on",
        "model ready",
        "the store is back",
    ]
    assert logs[0]["reason"] == "Too many open files"


async def test_a_load_that_somebody_asked_for_is_followed_too(tmp_path: Path) -> None:
    world = World([])
    await world.sync.load_initially()
    following = asyncio.create_task(world.following.run())
    await world.time.pass_by(AGAIN_SECONDS)
    world.archives.append(make_archive(tmp_path))
    world.engine.load_faults["tiny/1"] = AWAY
    result = await asyncio.gather(world.sync.load("tiny"), return_exceptions=True)
    assert "ENGINE_UNAVAILABLE" in str(result[0])

    world.engine.load_faults.clear()
    await world.look_after(AGAIN_SECONDS)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)

    assert world.repository.is_ready("tiny", "")
