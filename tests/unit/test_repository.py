"""The repository: which version answers, what a broken archive does, and what metrics may be named."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import CapturingLogger

from seqserve.archive import Archive
from seqserve.batching.batcher import Part
from seqserve.errors import (
    EngineUnavailable,
    ModelNotFound,
    ModelNotReady,
    ShuttingDown,
    VersionNotFound,
)
from seqserve.repository import loading as loading_module
from seqserve.repository.routing import Routing
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelState, ModelVersion
from support.archives import make_archive
from support.engines import FakeEngine, FakeModel
from support.repositories import load_all

HALVES = np.full((2, 6), 0.5, np.float32)
NOT_HALF = np.array([[0.9, 0.1], [0.9, 0.1]], np.float32)


@dataclass
class PickyEngine(FakeEngine):
    """Does not load what is listed in `refused`."""

    refused: Sequence[str] = field(default_factory=list)

    async def load(self, archive: Archive) -> FakeModel:
        if archive.name in self.refused:
            raise EngineUnavailable("no room")
        return await super().load(archive)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def repository() -> Repository:
    return Repository()


def disagreeing(folder: Path, name: str = "tiny", version: str = "1") -> Path:
    """An archive whose golden rows the fake engine does not give."""
    return make_archive(folder, name, version, golden=(HALVES, NOT_HALF))


def with_flipped_byte(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


def states(repository: Repository) -> dict[str, ModelState]:
    return {f"{found.name}/{found.version}": found.state for found in repository.versions()}


async def test_a_model_whose_turn_at_the_start_may_be_to_come_is_worth_a_retry() -> None:
    repository = Repository()
    with pytest.raises(ModelNotReady, match="still being loaded"):
        repository.resolve("tiny", "")

    await repository.end_initial_load()

    with pytest.raises(ModelNotFound):
        repository.resolve("tiny", "")


async def test_versions_stand_side_by_side_and_the_highest_number_answers(
    tmp_path: Path, repository: Repository, engine: FakeEngine
) -> None:
    await load_all(
        repository, [make_archive(tmp_path, "tiny", number) for number in ("10", "2", "9")], engine
    )

    assert repository.resolve("tiny", "").version == "10"
    assert [repository.resolve("tiny", number).version for number in ("2", "9", "10")] == ["2", "9", "10"]
    assert [found.version for found in repository.versions()] == ["2", "9", "10"]


async def test_a_request_is_bound_to_everything_of_one_version(
    tmp_path: Path, repository: Repository, engine: FakeEngine
) -> None:
    path = make_archive(tmp_path, "tiny", "7")
    await load_all(repository, [path], engine)

    bound = repository.resolve("tiny", "7")

    assert (bound.name, bound.version, bound.engine, bound.device) == ("tiny", "7", "fake", "cpu")
    assert (bound.signature.name, bound.signature.version) == ("tiny", "7")
    assert path.with_name("tiny-7.mar.sha256").read_text().startswith(bound.archive_sha256 + " ")
    [outcome] = await bound.batcher.submit([Part(HALVES, 2)], deadline=None)
    assert outcome.result.shape == (2, 2)
    await repository.aclose()


async def test_the_highest_ready_version_answers_for_one_that_failed(
    tmp_path: Path, repository: Repository, engine: FakeEngine
) -> None:
    archives = [
        make_archive(tmp_path, "tiny", "1"),
        make_archive(tmp_path, "tiny", "2"),
        disagreeing(tmp_path, "tiny", "3"),
    ]
    await load_all(repository, archives, engine)

    assert repository.resolve("tiny", "").version == "2"
    with pytest.raises(ModelNotReady, match="version '3' is not ready: failed"):
        repository.resolve("tiny", "3")
    assert repository.is_ready("tiny", "")
    assert not repository.is_ready("tiny", "3")
    assert repository.are_all_ready()


async def test_golden_disagreement_fails_the_version_and_unloads_it(
    tmp_path: Path, repository: Repository, engine: FakeEngine
) -> None:
    await load_all(repository, [disagreeing(tmp_path)], engine)

    [found] = repository.versions()
    assert found.state is ModelState.FAILED
    assert found.reason == "ARCHIVE_INVALID"
    assert engine.unloaded == ["tiny/1"]
    assert not repository.are_all_ready()
    await repository.aclose()
    assert engine.unloaded == ["tiny/1"]


@pytest.mark.parametrize("name", ["broken-3.mar", "broken.mar", "broken-x.mar", "broken-².mar"])
async def test_a_broken_archive_is_kept_as_failed_under_its_files_name_and_leaves_the_others(
    tmp_path: Path, repository: Repository, engine: FakeEngine, name: str
) -> None:
    broken = tmp_path / name
    broken.write_bytes(b"no zip")
    await load_all(repository, [broken, make_archive(tmp_path, "good")], engine)

    [failed] = [found for found in repository.versions() if found.state is ModelState.FAILED]
    assert failed.name.startswith("broken")
    assert failed.version == ("3" if name == "broken-3.mar" else "0")
    assert failed.reason == "ARCHIVE_INVALID"
    assert repository.is_ready("good", "")
    assert not repository.is_ready(failed.name, "")
    assert not repository.are_all_ready()


async def test_a_flipped_byte_is_refused_in_the_log_with_both_hashes(
    tmp_path: Path, repository: Repository, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = CapturingLogger()
    monkeypatch.setattr(loading_module, "log", log)
    await load_all(repository, [with_flipped_byte(make_archive(tmp_path))], engine)

    assert repository.versions()[0].reason == "ARCHIVE_INVALID"
    assert "tiny-1.mar: SHA-256 is " in log.calls[0].kwargs["reason"]
    assert engine.batches == []


async def test_an_engine_that_breaks_on_one_archive_serves_the_others(
    tmp_path: Path, repository: Repository
) -> None:
    class BreakingEngine(FakeEngine):
        async def load(self, archive: Archive) -> FakeModel:
            if archive.name == "bad":
                raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "as torch does on a damaged file")
            return await super().load(archive)

    archives = [make_archive(tmp_path, name) for name in ("bad", "good")]
    await load_all(repository, archives, BreakingEngine())

    assert states(repository) == {"bad/1": ModelState.FAILED, "good/1": ModelState.READY}
    assert repository.versions()[0].reason == "INTERNAL"


async def test_without_its_engine_nothing_is_ready_and_who_waits_is_answered(
    tmp_path: Path, repository: Repository, engine: FakeEngine
) -> None:
    await load_all(repository, [make_archive(tmp_path)], engine)
    engine.hold()
    waiting = asyncio.ensure_future(
        repository.resolve("tiny", "").batcher.submit([Part(HALVES, 2)], deadline=None)
    )
    await engine.entered.wait()

    await repository.lose_engine(EngineUnavailable("gone"))

    with pytest.raises(EngineUnavailable, match="gone"):
        await waiting
    assert not repository.are_all_ready()
    with pytest.raises(ModelNotReady):
        repository.resolve("tiny", "")


async def test_what_the_engine_does_not_load_is_failed_and_leaves_the_others(
    tmp_path: Path, repository: Repository
) -> None:
    engine = PickyEngine(refused=["big"])
    await load_all(repository, [make_archive(tmp_path, name) for name in ("big", "small")], engine)

    assert states(repository) == {"big/1": ModelState.FAILED, "small/1": ModelState.READY}
    assert repository.versions()[0].reason == EngineUnavailable.reason
    assert engine.unloaded == []


async def test_listeners_hear_of_every_change(
    tmp_path: Path, repository: Repository, engine: FakeEngine
) -> None:
    heard: list[tuple[str, ModelState]] = []

    async def hear(changed: ModelVersion) -> None:
        heard.append((changed.name, changed.state))

    repository.listeners.append(hear)
    await load_all(repository, [make_archive(tmp_path, "good"), disagreeing(tmp_path, "bad")], engine)

    assert heard == [
        ("bad", ModelState.LOADING), ("bad", ModelState.FAILED),
        ("good", ModelState.LOADING), ("good", ModelState.READY),
    ]  # fmt: skip


async def test_while_it_loads_a_version_is_known_and_not_ready(
    tmp_path: Path, repository: Repository, engine: FakeEngine
) -> None:
    engine.hold()
    loading = asyncio.create_task(load_all(repository, [make_archive(tmp_path)], engine))
    await engine.entered.wait()

    with pytest.raises(ModelNotReady, match="loading"):
        repository.resolve("tiny", "")
    assert not repository.are_all_ready()
    engine.gate.set()
    await loading
    assert repository.are_all_ready()


async def test_nothing_is_ready_in_an_empty_store_or_during_a_drain(
    tmp_path: Path, repository: Repository, engine: FakeEngine
) -> None:
    archives: list[Path] = []
    sync = await load_all(repository, archives, engine)
    assert not repository.are_all_ready()

    archives.append(make_archive(tmp_path))
    await sync.sync()
    assert repository.are_all_ready()
    repository.is_draining = True
    assert not repository.are_all_ready()


async def test_who_asks_for_what_is_not_there_hears_what_is(
    tmp_path: Path, repository: Repository, engine: FakeEngine
) -> None:
    await load_all(repository, [make_archive(tmp_path, "tiny", number) for number in ("10", "9")], engine)

    with pytest.raises(ModelNotFound, match="'nobody'"):
        repository.resolve("nobody", "")
    with pytest.raises(VersionNotFound, match="'11'; available: 9, 10"):
        repository.resolve("tiny", "11")


@pytest.mark.parametrize(
    ("asked", "labels"),
    [
        (("tiny", ""), ("tiny", "10")),
        (("tiny", "9"), ("tiny", "9")),
        (("tiny", "11"), ("tiny", "unknown")),
        (("nobody", ""), ("unknown", "unknown")),
        (("nobody", "10"), ("unknown", "unknown")),
    ],
)
async def test_metric_labels_come_from_the_repository_never_from_callers(
    tmp_path: Path,
    repository: Repository,
    engine: FakeEngine,
    asked: tuple[str, str],
    labels: tuple[str, str],
) -> None:
    await load_all(repository, [make_archive(tmp_path, "tiny", number) for number in ("9", "10")], engine)

    assert repository.metric_labels(*asked) == labels


async def test_closing_answers_what_is_queued_unloads_every_version_and_takes_nothing_new(
    tmp_path: Path, repository: Repository, engine: FakeEngine
) -> None:
    await load_all(repository, [make_archive(tmp_path, name) for name in ("one", "two")], engine)
    batcher = repository.resolve("one", "").batcher
    engine.hold()
    waiting = asyncio.create_task(batcher.submit([Part(HALVES, 2)], deadline=None))
    await engine.entered.wait()

    closing = asyncio.create_task(repository.aclose())
    await asyncio.sleep(0)
    assert engine.unloaded == []
    engine.gate.set()
    await closing

    assert len(await waiting) == 1
    assert engine.unloaded == ["one/1", "two/1"]
    with pytest.raises(ShuttingDown):
        await batcher.submit([Part(HALVES, 2)], deadline=None)


async def test_once_all_were_ready_a_refused_version_does_not_make_the_whole_unready(
    tmp_path: Path, repository: Repository, engine: FakeEngine
) -> None:
    archives = [make_archive(tmp_path)]
    sync = await load_all(repository, archives, engine)

    archives.append(disagreeing(tmp_path, "other"))
    await sync.sync()

    assert not repository.is_ready("other", "")
    assert repository.are_all_ready()


@pytest.mark.parametrize(("is_any_enough", "is_ready"), [(False, False), (True, True)])
async def test_the_whole_is_ready_with_all_models_or_with_any_as_wished(
    tmp_path: Path, engine: FakeEngine, *, is_any_enough: bool, is_ready: bool
) -> None:
    repository = Repository(is_any_enough=is_any_enough)
    await load_all(repository, [make_archive(tmp_path, "good"), disagreeing(tmp_path, "bad")], engine)

    assert repository.are_all_ready() is is_ready


async def three_versions(tmp_path: Path, repository: Repository, engine: FakeEngine) -> None:
    await load_all(repository, [make_archive(tmp_path, "tiny", number) for number in ("1", "2", "3")], engine)


async def test_a_label_names_a_version_and_stable_answers_who_names_none(
    tmp_path: Path, repository: Repository, engine: FakeEngine
) -> None:
    await three_versions(tmp_path, repository, engine)
    await repository.set_routing({"tiny": Routing(labels={"stable": "1", "next": "3"})})

    assert repository.resolve("tiny", "next").version == "3"
    assert repository.resolve("tiny", "").version == "1"
    assert repository.resolve("tiny", "2").version == "2"
    assert repository.default_version("tiny") == "1"
    with pytest.raises(VersionNotFound, match="'beta'; available: 1, 2, 3, next, stable"):
        repository.resolve("tiny", "beta")


async def test_at_the_start_a_label_of_a_refused_version_falls_back_to_no_other(
    tmp_path: Path, repository: Repository, engine: FakeEngine
) -> None:
    await repository.set_routing({"tiny": Routing(labels={"stable": "2"})})
    await load_all(repository, [make_archive(tmp_path), disagreeing(tmp_path, "tiny", "2")], engine)

    with pytest.raises(
        ModelNotReady, match=r"version '2' \(label 'stable'\) is not ready: failed: ARCHIVE_INVALID"
    ):
        repository.resolve("tiny", "")
    assert repository.is_ready("tiny", "1")


async def test_a_retry_meets_the_version_of_the_first_try_and_shares_are_kept(
    tmp_path: Path, repository: Repository, engine: FakeEngine
) -> None:
    await three_versions(tmp_path, repository, engine)
    await repository.set_routing({"tiny": Routing(weights={"1": 75, "3": 25})})

    chosen = [repository.resolve("tiny", "", f"id-{number}").version for number in range(2000)]

    assert chosen == [repository.resolve("tiny", "", f"id-{number}").version for number in range(2000)]
    assert set(chosen) == {"1", "3"}
    assert 0.2 < chosen.count("3") / 2000 < 0.3
    assert repository.default_version("tiny") == "1"


async def test_the_share_of_a_version_that_is_not_ready_goes_to_the_others(
    tmp_path: Path, repository: Repository, engine: FakeEngine
) -> None:
    await load_all(repository, [make_archive(tmp_path), disagreeing(tmp_path, "tiny", "2")], engine)
    await repository.set_routing({"tiny": Routing(weights={"1": 1, "2": 99})})

    assert {repository.resolve("tiny", "", str(number)).version for number in range(50)} == {"1"}


async def test_a_change_of_labels_is_heard(
    tmp_path: Path, repository: Repository, engine: FakeEngine
) -> None:
    await three_versions(tmp_path, repository, engine)
    heard: list[str] = []

    async def hear(changed: ModelVersion) -> None:
        heard.append(changed.version)

    repository.listeners.append(hear)
    await repository.set_routing({"tiny": Routing(labels={"stable": "1"})})

    assert heard == ["1", "2", "3"]


@pytest.mark.parametrize(("compute_slots", "is_ready"), [(0, True), (1, False), (2, True)])
async def test_the_whole_is_not_ready_while_hanging_batches_hold_every_slot(
    tmp_path: Path, repository: Repository, engine: FakeEngine, compute_slots: int, *, is_ready: bool
) -> None:
    await load_all(repository, [make_archive(tmp_path)], engine)
    repository.compute_slots = compute_slots

    repository.hung_batches = 1
    assert repository.are_all_ready() is is_ready
    repository.hung_batches = 0
    assert repository.are_all_ready()
