"""What the HTTP port tells of the server and its models, and the repository extension."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from seqserve import __version__
from seqserve.errors import LoadInProgress, ModelNotFound, SeqserveError
from seqserve.repository.routing import Routing
from support.rest import INFER, Port, infer_document


@dataclass
class Control:
    """Notes what it is told; raises `fault`."""

    told: list[str] = field(default_factory=list)
    fault: SeqserveError | None = None

    async def load(self, name: str) -> None:
        self._note(f"load {name}")

    async def unload(self, name: str) -> None:
        self._note(f"unload {name}")

    def _note(self, what: str) -> None:
        self.told.append(what)
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def control() -> Control:
    return Control()


@pytest.fixture
def port(control: Control) -> Port:
    return Port(control=control)


@pytest.fixture
async def http(tmp_path: Path, port: Port) -> AsyncIterator[httpx.AsyncClient]:
    async with await port.client(tmp_path) as client:
        yield client


async def get(http: httpx.AsyncClient, path: str, code: int = 200) -> Any:
    reply = await http.get(path)
    assert reply.status_code == code, reply.text
    return reply.json()


async def test_the_server_says_what_it_is(http: httpx.AsyncClient, tmp_path: Path) -> None:
    extensions = ["classification", "model_configuration", "statistics", "binary_tensor_data"]
    about = {"name": "seqserve", "version": __version__}

    assert await get(http, "/v2") == {**about, "extensions": [*extensions, "model_repository"]}
    async with await Port().client(tmp_path) as without_control:
        assert await get(without_control, "/v2") == {**about, "extensions": extensions}


async def test_the_server_lives_and_is_ready_until_it_drains(http: httpx.AsyncClient, port: Port) -> None:
    assert await get(http, "/v2/health/live") == {"live": True}
    assert await get(http, "/v2/health/ready") == {"ready": True}
    assert await get(http, "/v2/models/tiny/ready") == {"name": "tiny", "ready": True}

    port.repository.is_draining = True

    assert await get(http, "/v2/health/live") == {"live": True}
    assert await get(http, "/v2/health/ready", 503) == {"ready": False}
    assert (await get(http, "/v2/models/tiny/ready", 503))["reason"] == "SHUTTING_DOWN"


async def test_a_models_readiness_is_404_for_one_that_is_not_here(http: httpx.AsyncClient) -> None:
    assert (await get(http, "/v2/models/nobody/ready", 404))["reason"] == "MODEL_NOT_FOUND"
    assert (await get(http, "/v2/models/tiny/versions/9/ready", 404))["reason"] == "VERSION_NOT_FOUND"
    assert await get(http, "/v2/models/tiny/versions/1/ready") == {"name": "tiny", "ready": True}


async def test_a_version_that_does_not_serve_is_not_ready(http: httpx.AsyncClient, port: Port) -> None:
    entry = port.repository.find("tiny", "1")
    assert entry is not None
    entry.ready = None
    await port.repository.put(entry)

    reply = await http.get("/v2/models/tiny/versions/1/ready")

    assert (reply.status_code, reply.json()["reason"]) == (503, "MODEL_NOT_READY")
    assert reply.headers["retry-after"] == "1"


async def test_models_are_listed_and_described(http: httpx.AsyncClient, port: Port) -> None:
    await port.repository.set_routing({"tiny": Routing(labels={"old": "1"})})

    assert await get(http, "/v2/models") == {"models": ["line", "tiny"]}
    document = {
        "name": "tiny",
        "versions": ["1", "2"],
        "platform": "pytorch_torchscript",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 6]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]}],
    }
    assert await get(http, "/v2/models/tiny") == document
    for version in ("1", "old"):
        assert await get(http, f"/v2/models/tiny/versions/{version}") == {**document, "versions": ["1"]}


async def test_a_configuration_has_dimensions_without_the_batch(http: httpx.AsyncClient) -> None:
    config = await get(http, "/v2/models/tiny/versions/1/config")
    assert config["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": [6]}]
    assert config["max_batch_size"] == 4


async def test_an_inference_is_in_the_statistics_of_its_version(http: httpx.AsyncClient, port: Port) -> None:
    for _ in range(2):
        await http.post(INFER, json=infer_document())
    await http.post(INFER, json=infer_document(name="pixels"))

    (counters,) = (await get(http, "/v2/models/tiny/versions/2/stats"))["model_stats"]

    assert (counters["name"], counters["version"]) == ("tiny", "2")
    assert (counters["inference_count"], counters["execution_count"]) == (2, 2)
    phases = {name: duration["count"] for name, duration in counters["inference_stats"].items()}
    assert phases == {
        "success": 2, "fail": 1, "queue": 2, "compute_input": 2, "compute_infer": 2, "compute_output": 2,
    }  # fmt: skip
    assert [batch["batch_size"] for batch in counters["batch_stats"]] == [1]
    assert counters["last_inference"] > 0


@pytest.mark.parametrize(
    ("path", "versions"),
    [
        ("/v2/models/stats", {("tiny", "1"), ("tiny", "2"), ("line", "1")}),
        ("/v2/models/tiny/stats", {("tiny", "1"), ("tiny", "2")}),
        ("/v2/models/tiny/versions/1/stats", {("tiny", "1")}),
    ],
)
async def test_statistics_of_all_of_a_model_or_of_a_version(
    http: httpx.AsyncClient, path: str, versions: set[tuple[str, str]]
) -> None:
    counters = (await get(http, path))["model_stats"]
    assert {(each["name"], each["version"]) for each in counters} == versions


async def test_the_index_lists_every_version_or_those_that_are_ready(
    http: httpx.AsyncClient, port: Port
) -> None:
    entry = port.repository.find("tiny", "1")
    assert entry is not None
    entry.ready, entry.state, entry.reason = None, type(entry.state).FAILED, "GOLDEN"
    await port.repository.put(entry)

    everything = (await http.post("/v2/repository/index")).json()
    ready = (await http.post("/v2/repository/index", json={"ready": True})).json()

    assert {"name": "tiny", "version": "1", "state": "UNAVAILABLE", "reason": "GOLDEN"} in everything
    assert len(everything) == 3
    assert {(each["name"], each["version"], each["state"]) for each in ready} == {
        ("tiny", "2", "READY"), ("line", "1", "READY"),
    }  # fmt: skip


@pytest.mark.parametrize("body", ["", "{}", '{"parameters":{}}', '{"parameters":null}'])
async def test_models_are_loaded_and_unloaded_by_name(
    http: httpx.AsyncClient, control: Control, body: str
) -> None:
    for what in ("load", "unload"):
        assert (await http.post(f"/v2/repository/models/tiny/{what}", content=body)).status_code == 200
    assert control.told == ["load tiny", "unload tiny"]


async def test_a_load_takes_no_parameters_and_an_unload_ignores_them(
    http: httpx.AsyncClient, control: Control
) -> None:
    load = await http.post("/v2/repository/models/tiny/load", json={"parameters": {"config": "{}"}})
    unload = {"parameters": {"unload_dependents": False}}
    assert (await http.post("/v2/repository/models/tiny/unload", json=unload)).status_code == 200

    assert (load.status_code, load.json()["reason"]) == (400, "PARAMETER_NOT_ACCEPTED")
    assert control.told == ["unload tiny"]


@pytest.mark.parametrize(
    ("fault", "code"), [(ModelNotFound("tiny"), 404), (LoadInProgress("tiny is being loaded"), 409)]
)
async def test_what_control_raises_is_the_answer(
    http: httpx.AsyncClient, control: Control, fault: SeqserveError, code: int
) -> None:
    control.fault = fault
    reply = await http.post("/v2/repository/models/tiny/load")
    assert (reply.status_code, reply.json()["reason"]) == (code, fault.reason)


@pytest.mark.parametrize("body", ["[]", '{"ready":1}', "no"])
async def test_a_malformed_question_to_the_repository(http: httpx.AsyncClient, body: str) -> None:
    assert (await http.post("/v2/repository/index", content=body)).status_code == 400
