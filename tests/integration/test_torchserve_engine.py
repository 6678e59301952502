"""The TorchServe engine against a gRPC server and a management API that play TorchServe's part."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from typing_extensions import override

from seqserve.archive import Archive, read_archive
from seqserve.engines.torchserve.endpoint import TorchServeEndpoint
from seqserve.engines.torchserve.engine import TorchServeEngine
from seqserve.engines.torchserve.management import Management
from seqserve.engines.torchserve.predictions import Predictions
from seqserve.engines.torchserve.tokens import KeyFile
from seqserve.engines.torchserve.wire import needed_message_bytes
from seqserve.errors import ArchiveInvalid, EngineContractError, EngineUnavailable, Overloaded
from seqserve.pb import torchserve_pb2, torchserve_pb2_grpc
from seqserve.signature import Signature
from support.archives import make_archive
from support.contract import signature_document

TINY = Signature.parse(signature_document("tiny_image"))
OUTPUTS = int(np.prod(TINY.output.example_shape))
BATCH = np.linspace(0, 1, 12, dtype=np.float32).reshape(2, *TINY.input.example_shape)
ROWS = np.arange(2 * OUTPUTS, dtype=np.float32).reshape(2, *TINY.output.example_shape)


@dataclass
class FakeInference(torchserve_pb2_grpc.InferenceAPIsServiceServicer):
    """Answers `reply`, or fails with `fault`; asks for the token that is right at the moment."""

    token: str = "inference-1"  # noqa: S105 - the fake's own
    reply: bytes = b"\x00" + ROWS.tobytes()
    fault: tuple[grpc.StatusCode, str] | None = None
    requests: list[torchserve_pb2.PredictionsRequest] = field(default_factory=list)
    is_slow: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    @override
    async def Ping(self, request: Any, context: Any) -> torchserve_pb2.TorchServeHealthResponse:
        await self._check(context)
        return torchserve_pb2.TorchServeHealthResponse(health='{"status": "Healthy"}')

    @override
    async def Predictions(self, request: Any, context: Any) -> torchserve_pb2.PredictionResponse:
        await self._check(context)
        self.requests.append(request)
        self.arrived.set()
        if self.is_slow:
            await self._wait_for_cancel()
        if self.fault is not None:
            await context.abort(*self.fault)
        return torchserve_pb2.PredictionResponse(prediction=self.reply)

    async def _check(self, context: Any) -> None:
        if dict(context.invocation_metadata()).get("authorization") != f"Bearer {self.token}":
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "Token Authorization failed.")

    async def _wait_for_cancel(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@dataclass
class FakeManagement:
    """TorchServe's management API, in memory: models by name, the default version of each."""

    model_store: Path
    token: str = "management-1"  # noqa: S105 - the fake's own
    refusal: httpx.Response | None = None
    has_gpu: bool = False
    models: dict[str, dict[str, bytes]] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)
    is_away: bool = False
    status: str = "READY"
    workers: dict[tuple[str, str], int] = field(default_factory=dict)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.is_away:
            raise httpx.ConnectError("nobody listens", request=request)
        if request.headers["Authorization"] != f"Bearer {self.token}":
            return httpx.Response(400, json={"code": 400, "message": "Token Authorization failed."})
        match (request.method, request.url.path.strip("/").split("/")):
            case ("POST", ["models"]):
                return self._register(dict(request.url.params))
            case ("PUT", ["models", name, version, "set-default"]):
                self.defaults[name] = version
                return httpx.Response(200, json={"status": "ok"})
            case ("GET", ["models"]):
                return httpx.Response(200, json={"models": [{"modelName": name} for name in self.models]})
            case ("GET", ["models", name, "all"]):
                return self._describe(name, list(self.models.get(name, {})))
            case ("GET", ["models", name]):
                return self._describe(name, [self.defaults.get(name, "")])
            case ("DELETE", ["models", name, version]):
                return self._unregister(name, version)
        return httpx.Response(405, json={"code": 405, "message": "no such method"})

    def _describe(self, name: str, versions: list[str]) -> httpx.Response:
        if not self.models.get(name):
            return httpx.Response(404, json={"code": 404, "message": "Model not found"})
        described = [
            {
                "modelVersion": version,
                "minWorkers": self.workers.get((name, version), 1),
                "workers": [{"status": self.status, "gpu": self.has_gpu}],
            }
            for version in versions
        ]
        return httpx.Response(200, json=described)

    def _register(self, parameters: dict[str, str]) -> httpx.Response:
        assert parameters["synchronous"] == "true"
        assert parameters["initial_workers"] == parameters["batch_size"] == "1"
        name, _, version = parameters["url"].removesuffix(".mar").rpartition("-")
        self.models.setdefault(name, {})[version] = (self.model_store / parameters["url"]).read_bytes()
        self.defaults.setdefault(name, version)
        return self.refusal or httpx.Response(200, json={"status": "registered"})

    def _unregister(self, name: str, version: str) -> httpx.Response:
        if version not in self.models.get(name, {}):
            return httpx.Response(404, json={"code": 404, "message": "Model not found"})
        if self.defaults[name] == version and len(self.models[name]) > 1:
            return httpx.Response(403, json={"code": 403, "message": "Cannot remove default version"})
        del self.models[name][version]
        return httpx.Response(200, json={"status": "unregistered"})


@dataclass
class FakePresence:
    """Notes who is away; whoever is asked for again is back."""

    away: set[tuple[str, str]] = field(default_factory=set)
    brought_back: list[tuple[str, str]] = field(default_factory=list)

    def note_away(self, name: str, version: str) -> None:
        self.away.add((name, version))

    async def bring_back(self, name: str, version: str) -> bool:
        if (name, version) in self.away:
            self.away.discard((name, version))
            self.brought_back.append((name, version))
        return True


@dataclass
class World:
    """Everything that a test touches."""

    inference: FakeInference
    management: FakeManagement
    endpoint: TorchServeEndpoint
    engine: TorchServeEngine
    keys: Path
    presence: FakePresence

    def renew(self, number: int) -> None:
        """New tokens, as /token on the management port makes them."""
        write_keys(self.keys, number)
        self.inference.token, self.management.token = f"inference-{number}", f"management-{number}"


def write_keys(path: Path, number: int, *, seconds: float = 3600.0) -> None:
    expires = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    kinds = ("inference", "management")
    keys = {kind: {"key": f"{kind}-{number}", "expiration time": expires} for kind in kinds}
    path.write_text(json.dumps(keys | {"API": {"key": "api"}}))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store, keys = tmp_path / "model-store", tmp_path / "key_file.json"
    store.mkdir()
    write_keys(keys, 1)
    inference, management = FakeInference(), FakeManagement(store)
    server = grpc.aio.server()
    torchserve_pb2_grpc.add_InferenceAPIsServiceServicer_to_server(inference, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    endpoint = TorchServeEndpoint(
        grpc_target=f"127.0.0.1:{port}",
        inference_url="http://torchserve.test",
        management_url="http://torchserve.test",
        metrics_url="http://torchserve.test",
        tokens=KeyFile(keys),
        model_store=store,
        max_message_bytes=2**20,
    )
    presence = FakePresence()
    engine = TorchServeEngine(
        endpoint, presence, management=Management(endpoint, httpx.MockTransport(management))
    )
    yield World(inference, management, endpoint, engine, keys, presence)
    await engine.aclose()
    await server.stop(None)


def archive(folder: Path, version: str = "1") -> Archive:
    return read_archive(make_archive(folder, "tiny", version, signature=TINY))


async def test_a_batch_is_one_request_of_raw_bytes(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path, "7"))

    rows = await model.infer(BATCH)

    [request] = world.inference.requests
    assert (request.model_name, request.model_version) == ("tiny", "7")
    assert dict(request.input) == {
        "data": BATCH.tobytes(),
        "shape": struct.pack(f"<{BATCH.ndim}q", *BATCH.shape),
        "datatype": b"FP32",
    }
    assert rows.dtype == np.float32
    assert np.array_equal(rows, ROWS)


async def test_a_batch_that_is_not_contiguous_travels_row_by_row(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))

    await model.infer(np.repeat(BATCH, 2, axis=0)[::2])

    assert world.inference.requests[0].input["data"] == BATCH.tobytes()


async def test_the_verified_bytes_are_registered_under_their_name(world: World, tmp_path: Path) -> None:
    loaded = archive(tmp_path)
    (tmp_path / "tiny-1.mar").write_bytes(b"changed after it was verified")

    await world.engine.load(loaded)

    assert world.management.models["tiny"]["1"] == loaded.content
    assert (world.endpoint.model_store / "tiny-1.mar").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (b"\x01SHAPE_NOT_ACCEPTED: image: [3]", "refused: SHAPE_NOT_ACCEPTED: image: .3."),
        (b"\x02the model failed", "failed: the model failed"),
        (b"\x00" + ROWS.tobytes()[4:], "12 bytes for .2, 2., not 16"),
        (b"\x00" + ROWS.tobytes() + b"\x00", "17 bytes"),
        (b"\x07", "unknown status byte"),
        (b"", "unknown status byte"),
        (b"{}", "unknown status byte"),
    ],
)
async def test_anything_but_the_rows_is_a_broken_contract(
    world: World, tmp_path: Path, reply: bytes, says: str
) -> None:
    model = await world.engine.load(archive(tmp_path))
    world.inference.reply = reply

    with pytest.raises(EngineContractError, match=says):
        await model.infer(BATCH)


@pytest.mark.parametrize(
    "fault",
    [
        (grpc.StatusCode.UNAVAILABLE, "connection refused"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Worker died.\nInternalServerException"),
        (grpc.StatusCode.INTERNAL, "Model not found: tiny"),
        (grpc.StatusCode.CANCELLED, "RST_STREAM"),
    ],
)
async def test_a_torchserve_that_cannot_run_the_batch_is_worth_a_retry(
    world: World, tmp_path: Path, fault: tuple[grpc.StatusCode, str]
) -> None:
    model = await world.engine.load(archive(tmp_path))
    world.inference.fault = fault

    with pytest.raises(EngineUnavailable, match=fault[0].name) as caught:
        await model.infer(BATCH)

    assert caught.value.retry_after_seconds > 0
    world.inference.fault = None
    assert np.array_equal(await model.infer(BATCH), ROWS)


async def test_a_full_queue_is_an_overload(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    words = 'Model "tiny" Version 1" has no worker to serve inference request.'
    world.inference.fault = (grpc.StatusCode.INTERNAL, words)

    with pytest.raises(Overloaded):
        await model.infer(BATCH)

    assert not world.presence.away


async def test_an_exception_in_the_handler_is_no_outage(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    world.inference.fault = (grpc.StatusCode.UNAVAILABLE, "Prediction failed\nInternalServerException")

    with pytest.raises(EngineContractError, match="Prediction failed"):
        await model.infer(BATCH)


async def test_a_server_that_is_gone_is_unavailable(world: World) -> None:
    predictions = Predictions(world.endpoint.tokens)
    predictions.connect("127.0.0.1:1")

    with pytest.raises(EngineUnavailable, match="does not answer"):
        await predictions.ping(timeout_seconds=5.0)

    await predictions.aclose()


async def test_the_callers_cancel_reaches_torchserve(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    world.inference.is_slow = True
    call = asyncio.create_task(model.infer(BATCH))
    await world.inference.arrived.wait()

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    await world.inference.cancelled.wait()


async def test_renewed_tokens_are_read_from_the_file(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    world.renew(2)

    assert np.array_equal(await model.infer(BATCH), ROWS)
    await world.engine.load(archive(tmp_path, "2"))
    assert set(world.management.models["tiny"]) == {"1", "2"}


async def test_tokens_that_stay_wrong_are_an_outage(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    world.inference.token += "x"

    with pytest.raises(EngineUnavailable, match="PERMISSION_DENIED"):
        await model.infer(BATCH)


async def test_a_key_file_that_is_just_being_written_does_no_harm(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    world.keys.write_text('{"inference": {"ke')
    world.endpoint.tokens.forget()

    assert np.array_equal(await model.infer(BATCH), ROWS)


async def test_a_key_file_that_never_was_is_an_outage(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="tokens cannot be read"):
        KeyFile(tmp_path / "nowhere").inference()


async def test_the_highest_version_answers_callers_who_name_none(world: World, tmp_path: Path) -> None:
    models = {version: await world.engine.load(archive(tmp_path, version)) for version in ("9", "10", "2")}
    assert world.management.defaults["tiny"] == "10"

    await models["10"].unload()

    assert world.management.defaults["tiny"] == "9"
    assert set(world.management.models["tiny"]) == {"9", "2"}


async def test_unloading_takes_the_archive_away(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))

    await model.unload()

    assert world.management.models["tiny"] == {}
    assert list(world.endpoint.model_store.iterdir()) == []


async def test_unloading_from_a_server_that_is_away_is_no_error(world: World, tmp_path: Path) -> None:
    model = await world.engine.load(archive(tmp_path))
    world.management.is_away = True

    await model.unload()

    assert list(world.endpoint.model_store.iterdir()) == []


async def test_a_refused_archive_leaves_nothing_and_can_be_tried_again(world: World, tmp_path: Path) -> None:
    world.management.refusal = httpx.Response(
        500, json={"code": 500, "message": "Failed to start workers for model tiny version: 1"}
    )

    with pytest.raises(ArchiveInvalid, match="TorchServe refused: Failed to start workers"):
        await world.engine.load(archive(tmp_path))

    assert world.management.models["tiny"] == {}
    assert list(world.endpoint.model_store.iterdir()) == []
    world.management.refusal = None
    await world.engine.load(archive(tmp_path))


async def test_a_management_api_that_is_away_is_unavailable(world: World, tmp_path: Path) -> None:
    world.management.is_away = True

    with pytest.raises(EngineUnavailable, match="management API"):
        await world.engine.load(archive(tmp_path))


async def test_a_version_is_loaded_once(world: World, tmp_path: Path) -> None:
    await world.engine.load(archive(tmp_path))

    with pytest.raises(ArchiveInvalid, match="already"):
        await world.engine.load(archive(tmp_path))

    assert set(world.management.models["tiny"]) == {"1"}


async def test_a_batch_above_torchserves_message_limit_is_refused_at_load(
    world: World, tmp_path: Path
) -> None:
    signature = TINY.model_copy(update={"max_batch_size": 65536})
    large = read_archive(make_archive(tmp_path, "tiny", "1", signature=signature))
    assert needed_message_bytes([TINY, signature]) > world.endpoint.max_message_bytes

    with pytest.raises(ArchiveInvalid, match="a batch of 65536 examples takes"):
        await world.engine.load(large)

    assert world.management.models == {}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
async def test_the_device_is_what_torchserve_gave_its_worker(
    world: World,
    tmp_path: Path,
    device: str,
) -> None:
    world.management.has_gpu = device == "cuda"

    await world.engine.load(archive(tmp_path))

    assert world.engine.device == device


async def test_a_healthy_server_answers_the_ping(world: World) -> None:
    predictions = Predictions(world.endpoint.tokens)
    predictions.connect(world.endpoint.grpc_target)

    await predictions.ping(timeout_seconds=5.0)

    await predictions.aclose()
