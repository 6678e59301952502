"""The configuration file is followed: what may change does, and a fault changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import CapturingLogger

from seqserve import config_watch
from seqserve.config_watch import ConfigWatch
from seqserve.settings import Settings, read_settings


@dataclass
class World:
    """A file, who follows it, and what came of it."""

    path: Path
    applied: list[Settings] = field(default_factory=list)
    noted: list[str] = field(default_factory=list)
    log: CapturingLogger = field(default_factory=CapturingLogger)

    def __post_init__(self) -> None:
        self.path.write_text("grpc_port = 9001\n")
        self.watch = ConfigWatch(self.path, self.read(), self.read, self.apply, self.noted.append)

    def read(self) -> Settings:
        return read_settings({"http_port": "9000"}, self.path)

    async def apply(self, settings: Settings) -> None:
        self.applied.append(settings)

    async def change(self, text: str) -> None:
        self.path.write_text(text)
        await self.watch.look()


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


async def test_a_flag_goes_on_beating_the_file(world: World) -> None:
    await world.change('http_port = 1\ngrpc_port = 9001\nlog_level = "debug"\n')

    assert [settings.http_port for settings in world.applied] == [9000]
    assert not [call for call in world.log.calls if call.method_name == "warning"]
