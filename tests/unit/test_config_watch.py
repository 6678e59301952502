"""The configuration file is followed: what may change does, and a fault changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import CapturingLogger

from seqserve import config_watch
from seqserve.config_watch import ConfigWatch
from seqserve.settings import Settings
from seqserve.settings_reading import read_settings


@dataclass
class World:
    """A file, who follows it, and what came of it."""

    path: Path
    applied: list[Settings] = field(default_factory=list)
    is_applied: asyncio.Event = field(default_factory=asyncio.Event)
    noted: list[str] = field(default_factory=list)
    log: CapturingLogger = field(default_factory=CapturingLogger)

    def __post_init__(self) -> None:
        self.path.write_text("grpc_port = 9001\n")
        self.watch = ConfigWatch(self.path, self.read(), self.read, self.apply, self.noted.append)

    def read(self) -> Settings:
        return read_settings({"http_port": "9000"}, self.path)

    async def apply(self, settings: Settings) -> None:
        self.applied.append(settings)
        self.is_applied.set()

    async def change(self, text: str) -> None:
        """Write the file, and look until it is settled."""
        self.path.write_text(text)
        while await self.watch.look():
            pass


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path / "seqserve.toml")
    monkeypatch.setattr(config_watch, "log", world.log)
    return world


async def test_labels_and_the_log_level_are_taken_over(world: World) -> None:
    await world.change('grpc_port = 9001\nlog_level = "debug"\n[models.a]\nlabels = {stable = 2}\n')

    [settings] = world.applied
    assert settings.log_level == "debug"
    assert settings.of_model("a").labels == {"stable": "2"}
    assert world.noted == ["loaded"]


async def test_clients_are_taken_over_and_nothing_of_their_tokens_is_logged(world: World) -> None:
    digest = "c" * 64
    await world.change(f'grpc_port = 9001\n[clients.phone]\ntoken_sha256 = ["{digest}"]\n')
    await world.change(f'grpc_port = 9001\n[clients.tablet]\ntoken_sha256 = ["{digest}"]\n')

    assert [list(settings.clients) for settings in world.applied] == [["phone"], ["tablet"]]
    assert digest not in repr(world.log.calls)


async def test_what_needs_a_restart_is_named_and_left_as_it_is(world: World) -> None:
    await world.change('grpc_port = 9009\nversion_policy = "latest:1"\n')

    [settings] = world.applied
    assert (settings.grpc_port, settings.version_policy) == (9001, "latest:1")
    [warning] = [call for call in world.log.calls if call.method_name == "warning"]
    assert warning.kwargs["settings"] == ["grpc_port"]


async def test_a_file_with_a_fault_changes_nothing_until_it_is_mended(world: World) -> None:
    await world.change('log_level = "loud"\n[models.a]\nlabels = {stable = 0}\n')
    await world.watch.look()
    assert world.applied == []
    [refused] = [call for call in world.log.calls if call.method_name == "error"]
    assert "log_level" in refused.kwargs["reason"]
    assert "models.a.labels.stable" in refused.kwargs["reason"]

    await world.change('grpc_port = 9001\nlog_level = "error"\n')
    assert [settings.log_level for settings in world.applied] == ["error"]
    assert world.noted == ["refused", "loaded"]


async def test_no_change_and_a_file_that_is_away_for_a_moment_are_no_news(world: World) -> None:
    await world.watch.look()
    world.path.unlink()
    await world.watch.look()
    await world.change("grpc_port = 9001\n")

    assert world.applied == []
    assert world.noted == []


async def test_a_change_counts_once_two_looks_have_seen_the_same(world: World) -> None:
    world.path.write_text("")  # an editor has truncated it and not yet written
    assert await world.watch.look()
    world.path.write_text('log_level = "debug"\n')
    assert await world.watch.look()
    assert (world.applied, world.noted) == ([], [])

    assert not await world.watch.look()
    assert [settings.log_level for settings in world.applied] == ["debug"]
    assert not await world.watch.look()
    assert world.noted == ["loaded"]


async def test_a_second_look_follows_by_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def once(*_: object) -> AsyncIterator[None]:
        yield
        await asyncio.Event().wait()

    monkeypatch.setattr(config_watch, "changes", once)
    monkeypatch.setattr(config_watch, "SETTLE_SECONDS", 0)
    world.path.write_text('log_level = "debug"\n')
    following = asyncio.create_task(world.watch.follow())
    await world.is_applied.wait()
    following.cancel()

    assert [settings.log_level for settings in world.applied] == ["debug"]


class ConfigMap:
    """A folder as Kubernetes mounts a ConfigMap: files are links through `..data`, which is swapped whole."""

    def __init__(self, folder: Path, text: str) -> None:
        self._folder = folder
        self._generations = 0
        folder.mkdir()
        self.publish(text)
        (folder / "seqserve.toml").symlink_to("..data/seqserve.toml")

    def publish(self, text: str) -> None:
        """As the kubelet does it: a new folder, a link to it under another name, and that renamed."""
        self._generations += 1
        generation = self._folder / f"..2026_01_01_00_00_0{self._generations}"
        generation.mkdir()
        (generation / "seqserve.toml").write_text(text)
        link = self._folder / "..data"
        before = link.resolve() if link.is_symlink() else None
        (self._folder / "..data_tmp").symlink_to(generation.name)
        (self._folder / "..data_tmp").rename(link)
        if before is not None:
            shutil.rmtree(before)


@pytest.mark.parametrize("look_seconds", [0.1, 3600.0], ids=["looks", "events"])
async def test_a_config_map_that_is_changed_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look_seconds: float
) -> None:
    monkeypatch.setattr(config_watch, "SETTLE_SECONDS", 0.01)
    mounted = ConfigMap(tmp_path / "etc", 'log_level = "info"\n')
    path = tmp_path / "etc" / "seqserve.toml"
    mode = "poll" if look_seconds < 1 else "auto"
    applied: asyncio.Queue[Settings] = asyncio.Queue()
    flags = {"watch": mode, "watch_interval_seconds": str(look_seconds)}

    def read() -> Settings:
        return read_settings(flags, path)

    watch = ConfigWatch(path, read(), read, applied.put, lambda _: None)
    following = asyncio.create_task(watch.follow())
    try:
        for level in ("debug", "warning", "info"):
            await change_until_heard(mounted, f'log_level = "{level}"\n', applied)
            assert watch.settings.log_level == level
    finally:
        following.cancel()


async def change_until_heard(mounted: ConfigMap, text: str, applied: asyncio.Queue[Settings]) -> None:
    """Published again every second: the watch may not yet have begun, which nothing tells."""
    async with asyncio.timeout(60):
        while True:
            mounted.publish(text)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(applied.get(), 1.0)
                return


async def test_what_goes_wrong_does_not_end_the_following(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def twice(*_: object) -> AsyncIterator[None]:
        world.path.write_text("log_level = 'debug'\n")
        monkeypatch.setattr(world.watch, "read", lambda: 1 / 0)
        yield
        monkeypatch.setattr(world.watch, "read", world.read)
        yield

    monkeypatch.setattr(config_watch, "changes", twice)
    monkeypatch.setattr(config_watch, "SETTLE_SECONDS", 0)
    await world.watch.follow()

    assert [call.method_name for call in world.log.calls] == ["exception", "warning", "info"]
    assert [settings.log_level for settings in world.applied] == ["debug"]


async def test_a_file_that_is_emptied_and_back_as_it_was_is_no_news(world: World) -> None:
    content = world.path.read_text()
    world.path.write_text("")
    assert await world.watch.look()
    world.path.write_text(content)

    assert not await world.watch.look()
    world.path.write_text("")
    assert await world.watch.look()  # the emptiness of before does not count as the first of two
    assert world.noted == []


async def test_a_file_that_changes_while_it_is_read_is_not_settled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_while_somebody_writes() -> Settings:
        world.path.write_text('log_level = "error"\n')
        return world.read()

    monkeypatch.setattr(world.watch, "read", read_while_somebody_writes)
    world.path.write_text('log_level = "debug"\n')
    assert await world.watch.look()
    assert await world.watch.look()
    assert (world.applied, world.noted) == ([], [])

    assert await world.watch.look()
    assert not await world.watch.look()
    assert [settings.log_level for settings in world.applied] == ["error"]


async def test_a_file_that_is_nested_too_deeply_counts_as_refused(world: World) -> None:
    await world.change(f"a = {'[' * 5000}{']' * 5000}")

    assert (world.applied, world.noted) == ([], ["refused"])


async def test_a_file_that_goes_is_told_once_and_what_it_said_holds(world: World) -> None:
    world.path.unlink()
    for _ in range(3):
        await world.watch.look()

    [warning] = [call for call in world.log.calls if call.method_name == "warning"]
    assert "away" in warning.args[0]
    assert world.applied == []


async def test_a_flag_goes_on_beating_the_file(world: World) -> None:
    await world.change('http_port = 1\ngrpc_port = 9001\nlog_level = "debug"\n')

    assert [settings.http_port for settings in world.applied] == [9000]
    assert not [call for call in world.log.calls if call.method_name == "warning"]
