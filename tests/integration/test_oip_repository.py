"""The model repository extension: the index, loading and unloading, and which port serves them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import httpx
import pytest
from prometheus_client import CollectorRegistry

from seqserve.access.gate import Gate
from seqserve.errors import LoadInProgress, ModelNotFound, ModelNotReady, SeqserveError
from seqserve.gateway import Gateway
from seqserve.grpc_api.boundary import Boundary
from seqserve.grpc_api.oip import InferenceService
from seqserve.grpc_api.oip_repository import AdminService
from seqserve.metrics.counts import Metrics
from seqserve.pb import inference_pb2 as pb
from seqserve.pb.inference_pb2_grpc import GRPCInferenceServiceStub
from seqserve.predictor import Predictor
from seqserve.repository.table import Repository
from seqserve.repository.versions import ModelState, ModelVersion
from seqserve.statistics import Statistics
from seqserve.tracing import NoTracing
from support.oip import details_of, infer_request, inference_stub, words_of


@dataclass
class Control:
    """Notes what it is told, or raises."""

    told: list[tuple[str, str]] = field(default_factory=list)
    fault: SeqserveError | None = None

    async def load(self, name: str) -> None:
        self._note("load", name)

    async def unload(self, name: str) -> None:
        self._note("unload", name)

    def _note(self, verb: str, name: str) -> None:
        if self.fault is not None:
            raise self.fault
        self.told.append((verb, name))


@pytest.fixture
async def repository() -> Repository:
    """A version in each state."""
    found = Repository()
    for number, state in enumerate(ModelState, start=1):
        await found.put(ModelVersion("tiny", str(number), state=state, reason=f"because of {state.value}"))
    return found


@pytest.fixture
def control() -> Control:
    return Control()


@asynccontextmanager
async def serving(service: AdminService | InferenceService) -> AsyncIterator[GRPCInferenceServiceStub]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((service.handler(Boundary(NoTracing(), lambda: None, 2**20, Gate())),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield inference_stub(channel)
    await server.stop(None)


def inference_service(repository: Repository, control: Control | None) -> InferenceService:
    predictor = Predictor(repository, Metrics(CollectorRegistry()), 8, 30.0)
    return InferenceService(predictor, Statistics(), control)


@pytest.fixture
async def admin(repository: Repository, control: Control) -> AsyncIterator[GRPCInferenceServiceStub]:
    async with serving(AdminService(repository, control)) as stub:
        yield stub


def states(reply: pb.RepositoryIndexResponse) -> dict[str, str]:
    return {model.version: model.state for model in reply.models}


async def extensions(stub: GRPCInferenceServiceStub) -> Sequence[str]:
    return list((await stub.ServerMetadata(pb.ServerMetadataRequest())).extensions)


async def test_the_index_tells_every_version_its_state_and_why(
    admin: GRPCInferenceServiceStub, repository: Repository
) -> None:
    reply = await admin.RepositoryIndex(pb.RepositoryIndexRequest())

    words = {"ready": "READY", "loading": "LOADING", "unloading": "UNLOADING"}
    assert states(reply) == {
        entry.version: words.get(entry.state.value, "UNAVAILABLE") for entry in repository.versions()
    }
    assert {model.name for model in reply.models} == {"tiny"}
    assert [model.reason for model in reply.models] == [entry.reason for entry in repository.versions()]


async def test_the_index_can_be_of_what_is_ready(admin: GRPCInferenceServiceStub) -> None:
    reply = await admin.RepositoryIndex(pb.RepositoryIndexRequest(ready=True))

    assert list(states(reply).values()) == ["READY"]


async def test_load_and_unload_are_passed_on_by_name(
    admin: GRPCInferenceServiceStub, control: Control
) -> None:
    await admin.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="tiny"))
    unload = pb.RepositoryModelUnloadRequest(model_name="tiny")
    unload.parameters["unload_dependents"].bool_param = False  # tritonclient always sends it
    await admin.RepositoryModelUnload(unload)

    assert control.told == [("load", "tiny"), ("unload", "tiny")]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (ModelNotFound("nobody"), grpc.StatusCode.NOT_FOUND),
        (LoadInProgress("model 'tiny' is being loaded"), grpc.StatusCode.ABORTED),
        (ModelNotReady("model 'tiny': its golden check failed"), grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_what_stands_against_it_is_told(
    admin: GRPCInferenceServiceStub, control: Control, fault: SeqserveError, code: grpc.StatusCode
) -> None:
    control.fault = fault
    for call in (
        admin.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="tiny")),
        admin.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="tiny")),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call

        assert (refusal.value.code(), words_of(refusal.value)) == (code, str(fault))


@pytest.mark.parametrize("name", ["config", "file:1/model.pt"])
async def test_load_takes_nothing_but_what_the_store_holds(
    admin: GRPCInferenceServiceStub, control: Control, name: str
) -> None:
    request = pb.RepositoryModelLoadRequest(model_name="tiny")
    request.parameters[name].bytes_param = b"code"
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await admin.RepositoryModelLoad(request)

    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "the store is the only source" in words_of(refusal.value)
    assert details_of(refusal.value)["BadRequest"].field_violations[0].field == "parameters"
    assert control.told == []


async def test_there_is_one_repository_and_it_has_no_name(
    admin: GRPCInferenceServiceStub, control: Control
) -> None:
    for call in (
        admin.RepositoryIndex(pb.RepositoryIndexRequest(repository_name="other")),
        admin.RepositoryModelLoad(pb.RepositoryModelLoadRequest(repository_name="other", model_name="tiny")),
        admin.RepositoryModelUnload(
            pb.RepositoryModelUnloadRequest(repository_name="other", model_name="tiny")
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call

        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert details_of(refusal.value)["ErrorInfo"].reason == "REPOSITORY_NAME"
    assert control.told == []


async def test_the_admin_port_says_what_it_is_and_infers_nothing(admin: GRPCInferenceServiceStub) -> None:
    assert (await admin.ServerLive(pb.ServerLiveRequest())).live
    assert not (await admin.ServerReady(pb.ServerReadyRequest())).ready
    assert await extensions(admin) == ["model_repository"]
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await admin.ModelInfer(infer_request([[0.5] * 6]))

    assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_inference_port_administers_where_it_is_told_to(
    repository: Repository, control: Control
) -> None:
    async with serving(inference_service(repository, control)) as stub:
        await stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="tiny"))

        assert len((await stub.RepositoryIndex(pb.RepositoryIndexRequest())).models) == len(ModelState)
        assert "model_repository" in await extensions(stub)
    assert control.told == [("load", "tiny")]


async def test_the_inference_port_administers_nothing_otherwise(repository: Repository) -> None:
    async with serving(inference_service(repository, None)) as stub:
        for call in (
            stub.RepositoryIndex(pb.RepositoryIndexRequest()),
            stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="tiny")),
            stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="tiny")),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await call

            assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "model_repository" not in await extensions(stub)


async def test_by_default_nobody_administers(gateway: Gateway, channel: grpc.aio.Channel) -> None:
    """No setting is given: there is no port for it, and no method or path of another one does it."""
    codes = {}
    for method in ("Index", "ModelLoad", "ModelUnload"):
        call = channel.unary_unary(f"/inference.GRPCInferenceService/Repository{method}", None, None)(b"")
        codes[method] = (await call.code()).name
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.http_port}") as http:
        for path in ("index", "models/tiny/load", "models/tiny/unload"):
            codes[path] = str((await http.post(f"/v2/repository/{path}")).status_code)

    assert set(codes.values()) == {"UNIMPLEMENTED", "404"}
    assert "model_repository" not in await extensions(inference_stub(channel))
    assert gateway.ports.keys() == {"grpc", "http"}
