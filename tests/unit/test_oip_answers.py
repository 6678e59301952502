"""What the protocol's documents say, whichever form they travel in."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqserve import oip_answers
from seqserve.errors import ModelNotFound, ModelNotReady, VersionNotFound
from seqserve.predictor import Receipt
from seqserve.repository.routing import Routing
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelState, ModelVersion
from seqserve.statistics import Statistics
from support.archives import make_archive
from support.engines import FakeEngine
from support.repositories import load_all
from support.rest import LINE, LINE_GOLDEN


@pytest.fixture
async def repository(tmp_path: Path) -> Repository:
    """`tiny` 1 and 2, of which 1 has failed, and `line` 1."""
    repository = Repository()
    archives = [
        make_archive(tmp_path, version="2"),
        make_archive(tmp_path, "line", signature=LINE, golden=LINE_GOLDEN),
    ]
    await load_all(repository, archives, FakeEngine())
    await repository.put(ModelVersion("tiny", "1", state=ModelState.FAILED, reason="GOLDEN"))
    return repository


def test_the_configuration_tells_shapes_without_the_batch(repository: Repository) -> None:
    config = oip_answers.model_config(repository, "tiny", "", 1024)

    assert (config["name"], config["backend"], config["max_batch_size"]) == ("tiny", "seqserve", 4)
    assert config["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": [6]}]
    assert config["output"] == [{"name": "probabilities", "data_type": "TYPE_FP32", "dims": [2]}]
    assert config["dynamic_batching"] == {"max_queue_delay_microseconds": 0}
    assert config["model_transaction_policy"] == {"decoupled": False}
    assert config["version_policy"] == {"specific": {"versions": [2]}}


def test_the_configuration_has_no_larger_batches_than_a_request_may_bring(repository: Repository) -> None:
    assert oip_answers.model_config(repository, "tiny", "2", 3)["max_batch_size"] == 3


def test_the_configuration_of_a_regression_names_its_own_tensors(repository: Repository) -> None:
    config = oip_answers.model_config(repository, "line", "", 1024)

    assert [tensor["name"] for tensor in (*config["input"], *config["output"])] == ["x", "y"]


def test_metadata_lists_the_versions_that_are_ready(repository: Repository) -> None:
    document = oip_answers.model_metadata(repository, "tiny", "")

    assert (document["name"], document["versions"]) == ("tiny", ["2"])
    assert document["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 6]}]
    with pytest.raises(ModelNotReady, match="GOLDEN"):
        oip_answers.model_metadata(repository, "tiny", "1")


def test_the_index_lists_every_version_or_those_that_are_ready(repository: Repository) -> None:
    found = oip_answers.repository_index(repository, is_ready_only=False)

    assert {"name": "tiny", "version": "1", "state": "UNAVAILABLE", "reason": "GOLDEN"} in found
    assert len(found) == 3
    ready = oip_answers.repository_index(repository, is_ready_only=True)
    assert [(entry["name"], entry["version"]) for entry in ready] == [("line", "1"), ("tiny", "2")]


async def test_statistics_are_of_what_is_in_the_repository(repository: Repository) -> None:
    statistics = Statistics()
    for version in ("1", "2", "3"):  # the third has left
        statistics.of("tiny", version).request_failed(1.0, "INTERNAL")
    await repository.set_routing({"tiny": Routing(labels={"now": "2"})})

    def found(name: str, version: str) -> list[tuple[str, str, int]]:
        document = oip_answers.model_statistics(repository, statistics, name, version)
        return [
            (each["name"], each["version"], each["inference_stats"]["fail"]["count"])
            for each in document["model_stats"]
        ]

    assert found("", "") == [("line", "1", 0), ("tiny", "1", 1), ("tiny", "2", 1)]
    assert found("tiny", "") == [("tiny", "1", 1), ("tiny", "2", 1)]
    assert found("tiny", "now") == [("tiny", "2", 1)]
    with pytest.raises(ModelNotFound, match="nobody"):
        found("nobody", "")
    with pytest.raises(VersionNotFound, match="available: 1, 2, now"):
        found("tiny", "3")


def test_statistics_have_every_phase_and_batches_by_their_size(repository: Repository) -> None:
    statistics = Statistics()
    for size in (4, 1):
        statistics.of("tiny", "2").batch_computed(size, 0.125, 0.5, 0.25)

    [document] = oip_answers.model_statistics(repository, statistics, "tiny", "2")["model_stats"]

    assert list(document["inference_stats"]) == [
        "success", "fail", "queue", "compute_input", "compute_infer", "compute_output",
    ]  # fmt: skip
    assert [batch["batch_size"] for batch in document["batch_stats"]] == [1, 4]
    assert document["batch_stats"][0]["compute_infer"] == {"count": 1, "ns": 500_000_000}


@pytest.mark.parametrize("digest", ["", "ab12"])
def test_the_receipt_has_whole_nanoseconds_and_the_archive_where_it_is_known(digest: str) -> None:
    parameters = oip_answers.receipt_parameters(Receipt(0.5, 0.25, 3, "embedded", "cpu", digest))

    assert parameters["seqserve_queue_ns"] == 500_000_000
    assert parameters["seqserve_compute_ns"] == 250_000_000
    assert (parameters["seqserve_batch_size"], parameters["seqserve_engine"]) == (3, "embedded")
    assert parameters.get("seqserve_archive_sha256", "") == digest
