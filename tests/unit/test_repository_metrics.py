"""Gauges that are read from the repository at each scrape."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from seqserve.batching.batcher import Part
from seqserve.metrics.repository import repository_gauges
from seqserve.repository.routing import Routing
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelState, ModelVersion
from support.archives import make_archive
from support.batching import settle
from support.engines import FakeEngine
from support.repositories import load_all


@pytest.fixture
def repository() -> Repository:
    return Repository()


def samples(repository: Repository, name: str) -> dict[tuple[str, ...], float]:
    """Values of one gauge, by its labels' values in their order."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in repository_gauges(repository)
        for sample in family.samples
        if sample.name == name
    }


async def test_a_version_is_in_one_state_and_in_no_other(repository: Repository) -> None:
    await repository.put(ModelVersion("tiny", "1", state=ModelState.FAILED))

    states = samples(repository, "seqserve_model_state")

    assert {labels[2] for labels in states} == {state.value for state in ModelState}
    assert [labels for labels, value in states.items() if value == 1] == [("tiny", "1", "failed")]


async def test_versions_that_are_ready_are_counted_by_model(tmp_path: Path, repository: Repository) -> None:
    archives = [make_archive(tmp_path, version=version) for version in ("1", "2")]
    await load_all(repository, archives, FakeEngine())
    await repository.put(ModelVersion("broken", "1", state=ModelState.FAILED))

    assert samples(repository, "seqserve_ready_versions") == {("tiny",): 2, ("broken",): 0}
    await repository.aclose()


async def test_labels_say_where_they_point(repository: Repository) -> None:
    await repository.put(ModelVersion("tiny", "1"))
    await repository.set_routing({"tiny": Routing(labels={"stable": "1", "next": "2"})})

    assert samples(repository, "seqserve_model_label") == {
        ("tiny", "stable", "1"): 1,
        ("tiny", "next", "2"): 1,
    }


async def test_the_queue_and_the_calls_in_flight_are_those_of_the_moment(
    tmp_path: Path, repository: Repository
) -> None:
    engine = FakeEngine()
    await load_all(repository, [make_archive(tmp_path)], engine)
    engine.hold()
    row = Part(np.full((1, 2, 3), 0.5, np.float32), 1)

    async def call() -> None:
        with repository.resolve("tiny", "") as bound:
            await bound.batcher.submit([row], deadline=None)

    computed = asyncio.create_task(call())
    await engine.entered.wait()
    waiting = [asyncio.create_task(call()) for _ in range(2)]
    await settle()

    assert samples(repository, "seqserve_queued_examples") == {("tiny", "1"): 2}
    assert samples(repository, "seqserve_requests_in_flight") == {("tiny", "1"): 3}

    engine.gate.set()
    await asyncio.gather(computed, *waiting)
    assert samples(repository, "seqserve_queued_examples") == {("tiny", "1"): 0}
    assert samples(repository, "seqserve_requests_in_flight") == {("tiny", "1"): 0}
    await repository.aclose()


async def test_a_version_on_its_way_out_shows_what_it_still_waits_for(
    tmp_path: Path, repository: Repository
) -> None:
    engine = FakeEngine()
    sync = await load_all(repository, [make_archive(tmp_path)], engine)
    with repository.resolve("tiny", ""):
        unloading = asyncio.create_task(sync.unload("tiny"))
        await settle()
        in_flight = samples(repository, "seqserve_requests_in_flight")
    await unloading

    assert in_flight == {("tiny", "1"): 1}
    assert samples(repository, "seqserve_requests_in_flight") == {}


async def test_what_has_left_the_repository_has_no_series(repository: Repository) -> None:
    gone = ModelVersion("tiny", "1", state=ModelState.UNLOADED)
    await repository.put(gone)
    await repository.remove(gone)

    assert not [sample for family in repository_gauges(repository) for sample in family.samples]
