"""What the native hot path serves, in step with a repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqserve.native_front.routes import Routes
from seqserve.native_front.served import served_arguments
from seqserve.repository.routing import Routing
from seqserve.repository.versions import ModelState, ReadyVersion
from support.stores import World


class Published:
    """The table as it stands, and how often a version was made ready to be served."""

    def __init__(self, world: World) -> None:
        self.table: dict[tuple[str, str], Any] = {}
        self.made: list[str] = []
        self.is_native = True
        world.repository.listeners.insert(0, Routes(world.repository, self.make, self.publish).follow)

    def make(self, ready: ReadyVersion) -> Any:
        self.made.append(ready.version)
        return f"version {ready.version}" if self.is_native else None

    def publish(self, table: Any) -> None:
        self.table = {(model, asked): served for model, asked, served in table}
        assert len(self.table) == len(table)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def published(world: World) -> Published:
    return Published(world)


async def test_each_version_answers_to_its_number_and_the_highest_to_none(
    world: World, published: Published
) -> None:
    world.add("1"), world.add("2")
    await world.sync.load_initially()
    assert published.table == {
        ("tiny", "1"): "version 1", ("tiny", "2"): "version 2", ("tiny", ""): "version 2",
    }  # fmt: skip
    assert sorted(published.made) == ["1", "2"], "once each, however often the table changes"


async def test_labels_stand_in_the_table_as_the_repository_reads_them(
    world: World, published: Published
) -> None:
    world.add("1"), world.add("2")
    await world.sync.load_initially()
    await world.repository.set_routing({"tiny": Routing(labels={"stable": "1", "next": "2", "2": "1"})})
    assert published.table == {
        ("tiny", "1"): "version 1", ("tiny", "2"): "version 1", ("tiny", ""): "version 1",
        ("tiny", "stable"): "version 1", ("tiny", "next"): "version 2",
    }  # fmt: skip


async def test_where_weights_choose_for_each_request_python_decides(
    world: World, published: Published
) -> None:
    world.add("1"), world.add("2")
    await world.sync.load_initially()
    await world.repository.set_routing({"tiny": Routing(weights={"1": 90, "2": 10})})
    assert set(published.table) == {("tiny", "1"), ("tiny", "2")}


async def test_what_is_not_ready_stands_in_no_row(world: World, published: Published) -> None:
    world.add("1"), world.add("2", agrees=False)
    await world.sync.load_initially()
    await world.repository.set_routing({"tiny": Routing(labels={"broken": "2"})})
    assert set(published.table) == {("tiny", "1"), ("tiny", "")}


async def test_a_version_is_out_of_the_table_before_it_is_let_go(world: World, published: Published) -> None:
    world.add("1")
    await world.sync.load_initially()
    entry = world.repository.find("tiny", "1")
    assert entry is not None
    seen = []

    async def look(changed: Any) -> None:
        if changed.state is ModelState.UNLOADING:
            seen.append((dict(published.table), changed.ready is not None))

    world.repository.listeners.append(look)
    await world.sync.unload("tiny")
    assert seen == [({}, True)]


async def test_a_version_that_is_loaded_again_is_made_again(world: World, published: Published) -> None:
    world.add("1")
    await world.sync.load_initially()
    await world.sync.unload("tiny")
    await world.sync.load("tiny")
    assert published.made == ["1", "1"]
    assert published.table[("tiny", "")] == "version 1"


async def test_what_only_python_can_answer_stands_in_no_row(world: World, published: Published) -> None:
    published.is_native = False
    world.add("1")
    await world.sync.load_initially()
    assert published.table == {}


async def test_a_stalled_version_is_pythons_to_refuse(world: World, published: Published) -> None:
    world.add("1")
    await world.sync.load_initially()
    entry = world.repository.find("tiny", "1")
    assert entry is not None
    entry.stall("BATCH_OVERDUE")
    await world.repository.put(entry)
    assert published.table == {}
    entry.recover("BATCH_OVERDUE")
    await world.repository.put(entry)
    assert set(published.table) == {("tiny", "1"), ("tiny", "")}


async def test_the_rules_of_a_version_are_its_signatures(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add("1")
    await world.sync.load_initially()
    ready = world.repository.resolve("tiny", "")
    told = served_arguments(ready, 7)
    assert told == {
        "model": "tiny", "number": "1", "input_name": "image",
        "shapes": [(shape, True) for shape in ready.signature.layouts],
        "minimum": 0.0, "maximum": 1.0, "max_examples": 7, "output_name": "probabilities",
        "output_shape": (2,), "sum_tolerance": 1e-3,
        "receipt": [
            ("seqserve_engine", "fake"), ("seqserve_device", "cpu"),
            ("seqserve_archive_sha256", ready.archive_sha256),
        ],
    }  # fmt: skip


def colour_signature() -> dict[str, Any]:
    return {
        "input": {"name": "image", "datatype": "FP32", "shape": [-1, 3, 2, 2]},
        "example_shapes": [
            {"shape": [3, 2, 2], "layout": "CHW"}, {"shape": [2, 2, 3], "layout": "HWC"}, {"shape": [12], "layout": "flat"},
        ],
    }  # fmt: skip


async def test_axes_in_another_order_are_pythons(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add("1")
    await world.sync.load_initially()
    ready = world.repository.resolve("tiny", "")
    document = ready.signature.model_dump() | colour_signature()
    ready.signature = type(ready.signature).model_validate(document)
    assert served_arguments(ready, 7)["shapes"] == [((3, 2, 2), True), ((2, 2, 3), False), ((12,), True)]
